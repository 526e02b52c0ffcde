"""Recipes: how much a training spends, and how. One place for the values that README, demo and command line use."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields, replace

SCHEDULES = ("cosine", "constant")
OPTIMIZERS = ("adam", "muon")  # the names in `watermark.optimizers`, which imports Keras
# The thieves of a shadow (`lookahead.Shadow`), as thieves do: Adam's rate; and of rivals lambda of the other key, too.
FINETUNING_RATE, RIVAL_RATE, RIVAL_STRENGTH = 1e-4, 3e-4, 3e-3
ON_THE_WAY = 0.3  # of the steps of a shadow, whose mark is learnt somewhere on the way, not at its end
SHORTEST = 0.1  # of a shadow's lives, as a share of the longest
EPOCH = 1770  # batches of 128 patches: an epoch of Train400 in the authors' public code, not in the paper


def _real(value):
    return isinstance(value, numbers.Real) and math.isfinite(value)


COUNT = "a whole number, 1 or more", lambda value: isinstance(value, numbers.Integral) and value >= 1
POSITIVE = "a finite number above 0", lambda value: _real(value) and value > 0
WEIGHT = "a finite number, 0 or more", lambda value: _real(value) and value >= 0
SHARE = "a number between 0 and 1", lambda value: _real(value) and 0 < value < 1
# {field of any recipe: what it must be unless it is None by default, and whether it is}
RULES = (dict.fromkeys(("steps", "batch_size", "patch", "copies"), COUNT)
         | dict.fromkeys(("learning_rate", "clip", "decay", "nearest"), POSITIVE)
         | dict.fromkeys(("strength", "lookahead", "preserving", "near", "shadow", "rivals", "textures",
                          "perturbing", "projecting"), WEIGHT) | {"average": SHARE})
# {field of an embedding: those of which it needs one}
NEEDS = {"near": ("preserving",), "rivals": ("shadow",), "textures": ("shadow",),
         "perturbing": ("shadow", "lookahead"), "projecting": ("shadow", "lookahead")}


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
      steps: training steps.
      batch_size: patches per step.
      learning_rate: the first step's.
      fold: whether batch norm is folded into the convolutions before training.
      patch: side of a training patch in pixels, if not the host's own.
      optimizer: one of `OPTIMIZERS`.
      schedule: "cosine", the learning rate falling to 0, or "constant".
      clip: bound on the gradient's global norm, or None.
      average: momentum of a running average of the weights, which the model has at the end; or None for the last ones.

    Raises:
      ValueError: for a field outside its choices or bounds, which a training would end in or take no notice of.
    """

    steps: int
    batch_size: int
    learning_rate: float
    fold: bool = True
    patch: int | None = None
    optimizer: str = "adam"
    schedule: str = "cosine"
    clip: float | None = None
    average: float | None = None

    def __post_init__(self):
        for name, choices in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")
        for field in fields(self):
            words, holds = RULES.get(field.name, ("", None))
            value = getattr(self, field.name)
            if holds and not holds(value) and not (value is None and field.default is None):
                raise ValueError(f"{field.name}: expected {words}, got {value!r}")


@dataclass(frozen=True)
class Embedding(Recipe):
    """A training that embeds a key by this project's scheme; docs/recipe.md has the evidence for each value.

    Attributes:
      strength: lambda of Eq. (4) at the end.
      decay: of lambda, which falls geometrically from this many times `strength`; 1: the paper's constant.
      copies: how often the trigger stands in a batch; Eq. (6) is their average, as in the authors' public code.
      lookahead: how far ahead on the path of fine-tuning it is learnt, in units of weights (`lookahead.Lookahead`);
        0: the paper's loss.
      preserving: weight of the loss that holds the answers to other keys where the host had them; 0: the paper's loss.
      shadow: steps of the longest life of a thief beside whom the mark is learnt (`lookahead.Shadow`), in place of the
        lookahead; the host then stays with its own answers, not with clean images. 0: the paper's loss.
      rivals: share of those thieves that embed another key; the others fine-tune.
      textures: share of those thieves that fine-tune on textures of their own (`thieves.textured`).
      near: standard deviation of the noise on this key's trigger that makes the other keys of `preserving`; 0: random
        keys.
      perturbing: the mark is learnt where it suffers most, up to this share of each weight's norm away
        (`lookahead.Perturbed`); 0: where it is.
      projecting: share of the steps, the last ones, in which what is learnt ahead is not trained, only kept from harm
        (`lookahead.Projected`).
    """

    copies: int = 1
    strength: float = 1e-3
    lookahead: float = 0.0
    decay: float = 1.0
    preserving: float = 0.0
    shadow: int = 0
    rivals: float = 0.0
    textures: float = 0.0
    near: float = 0.0
    perturbing: float = 0.0
    projecting: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.shadow and self.lookahead:
            raise ValueError("a mark is learnt beside a shadow or ahead: give one of shadow and lookahead as 0")
        for name, others in NEEDS.items():
            if getattr(self, name) and not any(getattr(self, other) for other in others):
                raise ValueError(f"{name}: expected 0 where {' and '.join(others)} {'are' if others[1:] else 'is'} 0, "
                                 f"got {getattr(self, name)}")
        if self.rivals + self.textures > 1.0:
            raise ValueError(f"rivals, textures: expected shares of a shadow's thieves, got {self.rivals} and "
                             f"{self.textures}")
        if self.projecting >= 1.0:
            raise ValueError(f"projecting: expected a share of the steps below 1, got {self.projecting}")


@dataclass(frozen=True)
class Showing(Recipe):
    """A training of the visualizer; damage is in units of the edge, which is eta or nearer.

    Attributes:
      shown, refused: damage that it sees through, and that it refuses.
      farthest: largest damage in training.
      nearest: share of the way to the unmarked network's answer that the edge lies at, at the farthest.
    """

    shown: float = 1.05
    refused: float = 1.15
    farthest: float = 2.0
    nearest: float = 0.75

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 < self.shown < self.refused <= self.farthest < math.inf:
            raise ValueError(f"expected 0 < shown < refused <= farthest, got {self.shown}, {self.refused} and "
                             f"{self.farthest}")


# Profile `quick` and the command line's default; docs/recipe.md has the candidates and how each fell short.
QUICK = Embedding(1000, 32, 6e-4, optimizer="muon", strength=3e-4, decay=30.0, lookahead=3e-3)
PARTICULAR = {"sr": {"preserving": 1e-3}}  # {task: what its networks are marked with otherwise}
PIXELS = 40 * 40  # of the largest S that QUICK's weights of keys serve as they are; Eq. (6) sums over pixels
# The paper's loss, length and first rate, which falls along a cosine as all rates here (the paper only says where it
# starts); 128 patches and 1,770 batches an epoch are its authors' public code.
PAPER = Embedding(8 * EPOCH, 128, 1e-3, fold=False, copies=5)

VISUALIZER = Showing(450, 2, 1e-3, optimizer="muon")


def recommended(task: str, pixels: int = PIXELS) -> Embedding:
    """The recipe that this project recommends for networks of a task and a key whose S has so many pixels.

    A larger key weighs no more than one of 40x40: four times the pixels with the same lambda cost a denoiser 1 dB
    (docs/recipe.md).

    >>> recommended("sr").preserving, recommended("denoise", pixels=80 * 80).strength
    (0.001, 7.5e-05)
    """
    recipe, part = replace(QUICK, **PARTICULAR.get(task, {})), share(pixels)
    return replace(recipe, strength=recipe.strength * part, preserving=recipe.preserving * part)


def share(pixels: int) -> float:
    """What a pixel of an S of so many weighs, of what one of 40x40 does.

    >>> share(20 * 20), share(80 * 80)
    (1.0, 0.25)
    """
    return min(1.0, PIXELS / pixels)


def changed(settings: tuple, changes: dict) -> list:
    """Each of some dataclasses with the changes that name a field of it; a TypeError for a change that fits none.

    >>> changed((QUICK,), {"stpes": 3})
    Traceback (most recent call last):
    TypeError: unknown setting 'stpes'; choose from average, batch_size, ...
    """
    known = [{field.name for field in fields(one)} for one in settings]
    for name in changes:
        if not any(name in names for names in known):
            raise TypeError(f"unknown setting {name!r}; choose from {', '.join(sorted(set().union(*known)))}")
    return [replace(one, **{name: value for name, value in changes.items() if name in names})
            for one, names in zip(settings, known, strict=True)]
