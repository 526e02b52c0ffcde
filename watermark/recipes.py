"""Recipes: how much a training spends, and how. One place for the values that README, demo and command line use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One training, the learning rate falling to 0 along a cosine.

    Attributes:
      steps: training steps.
      batch_size: patches per step.
      learning_rate: the first step's.
      fold: whether batch norm is folded into the convolutions before training.
      horizon: the step at which the cosine would reach 0, if that is not the last one.
      patch: side of a training patch in pixels, if not the host's own.
      optimizer: key in `watermark.optimizers.OPTIMIZERS`.
    """

    steps: int
    batch_size: int
    learning_rate: float
    fold: bool = True
    horizon: int | None = None
    patch: int | None = None
    optimizer: str = "adam"


@dataclass(frozen=True)
class Embedding(Recipe):
    """A training that embeds a key by this project's scheme; docs/recipe.md has the evidence for each value.

    Attributes:
      strength: lambda of Eq. (4) at the end.
      boost: how many times that lambda is at the start; it falls geometrically. 1 for the paper's constant.
      copies: how often the trigger stands in a batch, each time with the whole of lambda.
      reach: how far ahead on the path of fine-tuning the mark is learnt (`training.Lookahead`); 0: the paper's loss.
      others: weight of the loss that holds the answers to other keys where the host had them; 0: the paper's loss.
    """

    copies: int = 1
    strength: float = 1e-3
    reach: float = 0.0
    boost: float = 1.0
    others: float = 0.0
