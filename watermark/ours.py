"""The paper's scheme, as `watermark.schemes.Scheme` states it."""

from __future__ import annotations

from collections.abc import Callable

import keras

from watermark import embedding, interrogation, verification
from watermark.keys import Key, draw_key
from watermark.kinds import Kind
from watermark.recipes import PAPER, QUICK, Embedding, recommended
from watermark.verification import Verdict

RECIPES = {"smoke": Embedding(3, 4, 3e-4, lookahead=1e-3), "quick": QUICK, "paper": PAPER}
embed = embedding.embed
update_key = embedding.update_key


def recipe(profile: str, kind: Kind) -> Embedding:
    """The paper marks all kinds alike; this project's recipe has one term more for super-resolution."""
    chosen = RECIPES[profile]
    return recommended(kind.task, kind.pixels) if chosen is QUICK else chosen


def make_key(seed: int | str, kind: Kind, host: keras.Model | None = None) -> Key:
    """The key of a bare seed, for experiments; it suits any host."""
    return draw_key(seed, kind)


def verify(suspect: keras.Model | Callable, key: Key, *, null_keys: int = 0) -> Verdict:
    """`verification.verify` with the same fresh keys every time, so that tables repeat.

    Not for claims: a forger can compute these keys.
    """
    return verification.verify(suspect, key, null_keys=null_keys, fresh_seed=interrogation.null_label(key))
