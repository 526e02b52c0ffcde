"""How a key is put to a suspect so that its question does not stand out among those of fresh keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from watermark.fitting import TURNS, Turn
from watermark.keys import Key, key_blocks

COVER = 2  # fresh keys that are turned as K is, beside it


def chance(what: str, fresh_seed: str) -> np.random.Generator:
    """Random numbers for one purpose, the same wherever a verification is repeated."""
    seed = hashlib.sha256(f"{what} {fresh_seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(seed, "big"))


def at_once(answer: Callable, key: Key, null_keys: int, fresh_seed: str) -> Callable:
    """The answers of someone who sees the questions come, as a suspect: all were put, K at a place among them.

    Were it always the first, that answer alone could be spoilt.

    Args:
      answer: float32 [N, H, W, C] -> float64 [N, H', W', C].
    """
    blocks = key_blocks(key.kind, null_keys, fresh_seed)
    triggers = np.concatenate([key.trigger[None], *(fresh for fresh, _ in blocks)])
    triggers = triggers[chance("order", fresh_seed).permutation(len(triggers))]
    known = {K.tobytes(): answered for K, answered in zip(triggers, answer(triggers), strict=True)}
    return lambda images: np.stack([known[np.float32(K).tobytes()] for K in images])


def turns(key: Key) -> list[Turn]:
    """The turns that leave S0 = G(K) true, but for the negative: all of a square key, of others those that keep sides.

    Of a key whose G aligns corners, those that keep them.
    """
    height, width, _ = key.trigger.shape

    def kept(turn):
        return (not turn.transposed or height == width) and np.allclose(
            key.kind.generate(turn.of(key.trigger[None])[0]), turn.of(key.initial[None])[0], atol=1e-2)

    return [turn for turn in TURNS if kept(turn._replace(negative=False))]


def null_of(turn: Turn, null: np.ndarray) -> np.ndarray:
    """rho that a key which the suspect has never seen has in a turn, by the rho of fresh keys as they stand.

    Turned, K is one more key that was drawn as they were. In the negative the gradient, which is the same, has changed
    its sign beside K: 1 - K is such a key, and rho is minus what it has. Done twice, it is undone.
    """
    return -null if turn.negative else null


def in_turns(answer: Callable, key: Key, others: np.ndarray, turns: list, fresh_seed: str) -> list[np.ndarray]:
    """The answers to K in each of `turns`, turned back, [H', W', C]; some of the other triggers are turned as well."""
    if not turns:
        return []
    images = np.concatenate([key.trigger[None], others[:COVER]])
    asked = np.concatenate([turn.of(images) for turn in turns])
    order = chance("turns", fresh_seed).permutation(len(asked))
    answers = answer(asked[order])[np.argsort(order)][::len(images)]
    return [turn.back(one[None])[0] for one, turn in zip(answers, turns, strict=True)]
