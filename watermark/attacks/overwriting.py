"""Overwriting (section V-E4): the thief embeds a key of his own, by the owner's own method."""

from __future__ import annotations

from dataclasses import replace

import keras

from watermark.attacks.base import Attack, Thief, Training, attack, knob
from watermark.embedding import embed
from watermark.keys import Key
from watermark.recipes import Embedding, Recipe
from watermark.training import Batches, Run


def overwrite(model: keras.Model, new_key: Key, batches: Batches, recipe: Embedding | None = None,
              run: Run = Run(title="overwriting"), **changes) -> keras.Model:
    """A copy of `model` that carries the thief's `new_key` as well; arguments and errors as for `embedding.embed`."""
    return embed(model, new_key, batches, recipe, run, **changes)


@attack("overwrite")
class Overwrite(Attack):
    """One further key; several are several attacks, one after the other."""

    key: int = knob(help="seed of the thief's key, added to the trial's")
    recipe: Recipe = knob(help="how the thief embeds")
    data: str = knob(help="the images trained on", image_set=True)
    seed: int = knob(help="of the batches", cli=0)

    trains = True

    @property
    def label(self) -> str:
        """The attack in a few words, with the recipe's length."""
        return f"overwritten, {self.recipe.steps} steps"

    @property
    def training(self) -> Training:
        """What it trains: the task, and the thief's key."""
        return Training(self.data, self.recipe, self.seed, self.key)

    def __call__(self, model: keras.Model, thief: Thief) -> keras.Model:
        """The copy that carries the thief's key as well."""
        data, recipe, seed, key = self.training
        batches = thief.batches(data, recipe, seed + thief.seed)
        return thief.embed(model, thief.key(key + thief.seed), batches, recipe, replace(thief.run, title="overwriting"))
