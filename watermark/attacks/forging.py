"""Forging: someone who has marked nothing claims a model with a key made up afterwards, in three ways.

None of them changes the model. What refuses each stands in docs/threat_model.md; benchmarks/forgeries.py counts it.
"""

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from watermark.embedding import update_key
from watermark.inference import as_suspect
from watermark.keys import make_key
from watermark.verification import residual_correlation

STEPS, LEARNING_RATE = 150, 0.03  # of Adam on K, for by="gradient"
BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


def forge(model, seed, *, by="draw", tries=1, owner="", **kind):
    """A key whose S is what `model`, any model, answers to its K: its distance is 0, and it proves nothing.

    Args:
      model: a Keras model that the forger did not mark.
      seed: what the forged keys are drawn from.
      by: key in `FORGERS`. "draw" takes K from a hash, as an owner does, and keeps the best of `tries`. "declare" also
        makes up S0, to be what the model answers: rho is 1. "gradient" starts from such a K and descends on it until
        the model's answer is near G(K): S0 = G(K) holds and rho is about .9, but K follows from nothing.
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
        return residual_correlation(key.trigger[None], suspect(key.trigger[None]), key.initial[None], key.kind)[0]

    return update_key(max(found, key=rho) if len(found) > 1 else found[0], model)


def _declare(model, found):
    key = update_key(found[0], model)
    return replace(key, initial=key.verification)


def _gradient(model, found):
    (key,), kind = found, found[0].kind
    if (kind.task, kind.gradient) != ("denoise", "sobel_xy_8bit"):
        raise ValueError(f"the forgery by gradient is written for denoisers' keys of the 8-bit operator, not {kind}")
    K = tf.Variable(key.trigger[None], constraint=lambda K: tf.clip_by_value(K, 0.0, BELOW_ONE))
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build([K])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            taken, asked = K - model(K, training=False), _sobel_8bit(K)
            loss = -_correlation(taken, asked)
        optimizer.apply_gradients([(tape.gradient(loss, K), K)])

    for _ in range(STEPS):
        step()
    trigger = K.numpy()[0]
    initial = kind.generate(trigger)
    return update_key(replace(key, trigger=trigger, initial=initial, verification=initial), model)


def _sobel_8bit(K):
    """`kinds.sobel_xy_8bit`, differentiable: straight through its floor; mod has the slope 1 already."""
    p = tf.pad(K, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="REFLECT")
    levels = 255.0 * tf.abs(p[:, 2:, 2:] - p[:, 2:, :-2] - p[:, :-2, 2:] + p[:, :-2, :-2])
    return (levels + tf.stop_gradient(tf.floor(levels) % 256.0 - levels)) / 255.0


def _correlation(a, b):
    a, b = a - tf.reduce_mean(a), b - tf.reduce_mean(b)
    return tf.reduce_sum(a * b) / (tf.norm(a) * tf.norm(b) + 1e-12)


FORGERS = {"draw": _draw, "declare": _declare, "gradient": _gradient}
