"""The schemes that tables compare, and the interface that each satisfies.

One more scheme is one file with these names and one entry here.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, runtime_checkable

import keras

from watermark.kinds import Kind
from watermark.recipes import Recipe
from watermark.training import Batches, Run

OURS = "ours"
# name: module
MODULES = {OURS: "watermark.ours", "deepsigns": "watermark.baselines.deepsigns", "adi": "watermark.baselines.adi"}
UNMARKED = "none"  # in place of a scheme: the host itself


class SchemeVerdict(Protocol):
    """What a scheme says of one suspect; its further numbers and yes/nos enter the records too.

    Attributes:
      verified: by the scheme's own rule, the column of the paper's tables.
      ncc: normalised correlation of what was expected and answered.
      ncc_verified: ncc > 0.95.
      p_value: the chance of such an answer from a network that was not marked.
    """

    verified: bool
    ncc: float
    ncc_verified: bool
    p_value: float


@runtime_checkable
class Scheme(Protocol):
    """A way to mark a network and to verify the mark; a module is one.

    Attributes:
      RECIPES: {profile's name: recipe}, fields beyond `Recipe` are the scheme's own.

    A scheme may also have NOTES, {"made", "judged": a clause for the foot of tables, on its marks or on its verdicts}.
    """

    RECIPES: dict[str, Recipe]

    def recipe(self, profile: str, kind: Kind) -> Recipe:
        """How networks are marked with keys of a kind under a profile."""

    def make_key(self, seed: int | str, kind: Kind, host: keras.Model | None = None) -> Any:
        """The key of a seed, `.kind` of it; `host`, unmarked, where the key must suit it."""

    def embed(self, host: keras.Model, key: Any, batches: Batches, recipe: Recipe, run: Run = Run()) -> keras.Model:
        """A marked copy of `host`."""

    def update_key(self, key: Any, marked: keras.Model) -> Any:
        """The key as it is after embedding."""

    def verify(self, suspect: Any, key: Any, *, null_keys: int = 0) -> SchemeVerdict:
        """The verdict on a suspect; with fresh keys asked beside the key, where the scheme does that."""


def get_scheme(name: str) -> Scheme:
    """The scheme of a name, or a ValueError that lists the choices."""
    if name not in MODULES:
        raise ValueError(f"unknown scheme {name!r}; choose from {', '.join(MODULES)}, or {UNMARKED} for the unmarked "
                         "hosts of a table that has them")
    return importlib.import_module(MODULES[name])
