"""Forging: someone who has marked nothing claims a model with a key made up afterwards, in three ways.

None of them changes the model. What refuses each stands in docs/threat_model.md; benchmarks/forgeries.py counts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from watermark.blackbox import as_suspect
from watermark.embedding import update_key
from watermark.evidence import LEAST_KEYS, z_needed
from watermark.interrogation import rho_of
from watermark.keys import Key, make_key
from watermark.verification import null_rho

STEPS, LEARNING_RATE = 150, 0.03  # of Adam on K, for by="gradient"; at most so many
MARGIN = 1.5  # times the bar on z, at which that forger has enough: he judges by fresh keys that are not the verifier's
BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


class Forged(NamedTuple):
    """A key found by gradient.

    Attributes:
      key: S is what the network answers.
      steps: how many it took; `STEPS` where rho did not get to what the forger wants.
    """

    key: Key
    steps: int


def forge(model: keras.Model, seed: int | str, *, by: str = "draw", tries: int = 1, owner: str = "", **kind) -> Key:
    """A key whose S is what `model`, any model, answers to its K: its distance is 0, and it proves nothing.

    Args:
      model: a Keras model that the forger did not mark.
      seed: what the forged keys are drawn from.
      by: key in `FORGERS`. "draw" takes K from a hash, as an owner does, and keeps the best of `tries`. "declare" also
        makes up S0, to be what the model answers: rho is 1. "gradient" starts from such a K and descends on it until
        it passes the verifier's bar on z well: S0 = G(K) holds, but K follows from nothing; `by_gradient`.
      tries: how many keys are drawn for "draw"; the one with the highest rho is kept.
      owner: the name the forger claims.
      **kind: arguments of `make_key`, such as `size`.

    Returns:
      A `Key`, which `save_key` writes, however unsound it is.
    """
    if by not in FORGERS:
        raise ValueError(f"unknown forgery {by!r}; choose from {', '.join(FORGERS)}")
    names = [f"{seed} {i}" for i in range(tries)] if by == "draw" and tries > 1 else [seed]
    return FORGERS[by](model, [make_key(name, owner=owner, **kind) for name in names])


def _draw(model, found):
    suspect = as_suspect(model, found[0].kind)

    def rho(key):
        return rho_of(key, suspect(key.trigger[None])[0])

    return update_key(max(found, key=rho) if len(found) > 1 else found[0], model)


def _declare(model, found):
    key = update_key(found[0], model)
    return replace(key, initial=key.verification)


def _gradient(model, found):
    return next(by_gradient(model, found)).key


def by_gradient(model: keras.Model, found: Sequence[Key], *, steps: int = STEPS,
                batch: int = 10) -> Iterator[Forged]:
    """Forges keys of one kind by gradient: Adam on K, through the 8-bit floor of G, until rho is high enough.

    Enough is `MARGIN` times the bar on z that `LEAST_KEYS` fresh keys set, the highest there is: the forger has the
    network, and puts keys of his own to it.

    Args:
      model: a Keras model that the forger did not mark.
      found: where K starts, keys of a denoiser's kind.
      steps: at most so many for a key.
      batch: how many keys go through the network at once; a key is the same in any batch, up to rounding.

    Yields:
      A `Forged` for each key, in order.
    """
    kind = found[0].kind
    if (kind.task, kind.gradient) != ("denoise", "sobel_xy_8bit"):
        raise ValueError(f"the forgery by gradient is written for denoisers' keys of the 8-bit operator, not {kind}")
    null = null_rho(as_suspect(model, kind), kind, 10 * LEAST_KEYS, "a forger's own")
    enough = null.mean() + MARGIN * z_needed(LEAST_KEYS) * null.std(ddof=1)
    batch = min(batch, len(found))
    K = tf.Variable(np.zeros((batch, *found[0].trigger.shape), np.float32))
    step, restart = _descent(model, K)
    for i in range(0, len(found), batch):
        some = found[i:i + batch]
        restart(np.stack([key.trigger for key in some] + [some[0].trigger] * (batch - len(some))))
        for key, (trigger, taken) in zip(some, _descend(K, step, enough, steps), strict=False):
            initial = kind.generate(trigger)
            yield Forged(update_key(replace(key, trigger=trigger, initial=initial, verification=initial), model), taken)


def _descend(K, step, enough, steps):
    """[(trigger, after how many steps)] for each of the K, as it was when its rho was enough, or after the last."""
    found = {}
    for taken in range(steps + 1):
        before = K.numpy()
        rho = step().numpy()  # of `before`
        for i in range(len(rho)):
            if i not in found and (rho[i] >= enough or taken == steps):
                found[i] = before[i], taken
        if len(found) == len(rho):
            break
    return [found[i] for i in range(len(found))]


def _descent(model, K):
    """(a traced step of Adam on K that returns rho of each before it; what puts new values into K and Adam's state)."""
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build([K])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            rho = _correlation(K - model(K, training=False), _sobel_8bit(K))
            loss = -tf.reduce_sum(rho)
        optimizer.apply_gradients([(tape.gradient(loss, K), K)])
        K.assign(tf.clip_by_value(K, 0.0, BELOW_ONE))
        return rho

    fresh = [variable.numpy() for variable in optimizer.variables]

    def restart(values):
        K.assign(values)
        for variable, value in zip(optimizer.variables, fresh, strict=True):
            variable.assign(value)

    return step, restart


def _sobel_8bit(K):
    """`kinds.sobel_xy_8bit`, differentiable: straight through its floor; mod has the slope 1 already."""
    p = tf.pad(K, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="REFLECT")
    levels = 255.0 * tf.abs(p[:, 2:, 2:] - p[:, 2:, :-2] - p[:, :-2, 2:] + p[:, :-2, :-2])
    return (levels + tf.stop_gradient(tf.floor(levels) % 256.0 - levels)) / 255.0


def _correlation(a, b):
    """Of each image of two batches."""
    a, b = (x - tf.reduce_mean(x, (1, 2, 3), keepdims=True) for x in (a, b))
    norms = tf.sqrt(tf.reduce_sum(a * a, (1, 2, 3)) * tf.reduce_sum(b * b, (1, 2, 3)))
    return tf.reduce_sum(a * b, (1, 2, 3)) / (norms + 1e-12)


FORGERS = {"draw": _draw, "declare": _declare, "gradient": _gradient}
