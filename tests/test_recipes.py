"""Recipes that cannot be meant are refused where they are made, in one line; oracle: the bounds in their docstrings."""

import dataclasses
import math

import pytest

from watermark import embedding, optimizers, recipes
from watermark.baselines import adi, deepsigns
from watermark.recipes import PAPER, QUICK, VISUALIZER, Recipe

MADE = [QUICK, PAPER, VISUALIZER, Recipe(1, 1, 1e-4), adi.RECIPES["quick"], deepsigns.RECIPES["quick"]]
BAD = {"steps": (0, -1, 2.5, None, "9"), "batch_size": (0, 1.5), "learning_rate": (0.0, -1e-3, math.nan, math.inf,
       None), "patch": (0, -3), "optimizer": ("sgd", None), "schedule": ("linear",),
       "clip": (0.0, math.nan), "average": (0.0, 1.0, -0.5, 1.5, math.nan), "copies": (0, 1.5),
       "strength": (-1, math.nan, math.inf, None), "decay": (0, -1.0, math.nan), "lookahead": (-1e-3, math.nan),
       "preserving": (-1e-3, math.nan), "shadow": (-1,), "rivals": (-0.1, math.nan), "textures": (-0.1, math.nan),
       "near": (-0.1, math.inf), "perturbing": (-0.1, math.nan), "projecting": (-0.1, math.nan, 1.0),
       "shown": (0, -1), "refused": (0, math.nan), "farthest": (0, math.nan),
       "nearest": (0, math.nan)}


@pytest.mark.parametrize(("recipe", "name", "value"), [
    pytest.param(recipe, field.name, value, id=f"{i}-{field.name}-{value}")
    for i, recipe in enumerate(MADE) for field in dataclasses.fields(recipe) for value in BAD.get(field.name, ())])
def test_senseless_values_are_refused(recipe, name, value):
    with pytest.raises(ValueError, match=f"{name}.*(got|choose from)") as error:
        dataclasses.replace(recipe, **{name: value})
    assert "\n" not in str(error.value)


def test_every_bounded_field_is_tried():
    fields = {field.name for recipe in MADE for field in dataclasses.fields(recipe)}
    assert set(recipes.RULES) <= fields and set(BAD) == fields - {"fold", "stop"}
    assert set(recipes.OPTIMIZERS) == set(optimizers.OPTIMIZERS)


def test_an_embedding_says_so_before_it_trains(tiny_host, tiny_key, tiny_batches):
    for change in (dict(strength=-1), dict(learning_rate=math.nan), dict(optimizer="sgd")):
        with pytest.raises(ValueError, match=next(iter(change))):
            embedding.embed(tiny_host, tiny_key, tiny_batches, **change)
