"""The thieves beside whom a mark is learnt (`lookahead.Shadow`): what they train on, and at which rate.

A loss is given (model, owner's X and Y, thief's X and Y, number of the step, number of the thief's life).
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from watermark import inference
from watermark.keys import Key, random_keys
from watermark.losses import Loss, alone
from watermark.recipes import FINETUNING_RATE, RIVAL_RATE, RIVAL_STRENGTH, Embedding
from watermark.tasks import task_loss

POOL = 256  # other keys whose answers are held, or which rivals embed; enough that a host learns none of them by heart
PIXELS = 1 << 26  # of all of their answers


def thieves(host: keras.Model, key: Key, recipe: Embedding) -> tuple[tuple[Loss, float, float], ...]:
    """(loss, rate of Adam, share of the lives) of each kind of thief that a recipe has; each does what thieves do."""
    kinds = ((_finetunes, FINETUNING_RATE, round(1.0 - recipe.rivals - recipe.textures, 9)),
             (_on_textures, FINETUNING_RATE, recipe.textures),
             (_rival(host, key) if recipe.rivals else None, RIVAL_RATE, recipe.rivals))
    return tuple(kind for kind in kinds if kind[-1] > 0.0)


def pool(key: Key) -> int:
    """How many other keys there are: fewer of large ones, or they would take gigabytes."""
    return min(POOL, PIXELS // key.initial.size)


def _finetunes(M, _, __, X, Y, *numbers):
    return task_loss(M, X, Y), {}


def _on_textures(M, _, __, X, Y, step, life):
    return task_loss(M, *textured(X, Y, step)), {}


def textured(X: tf.Tensor, Y: tf.Tensor, step: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """Patches as textures: inputs and targets [B, H, W, C] with the phases of their spectra shifted alike.

    Phases that are those of white noise leave of a picture its spectrum, which is a random-phase texture (Galerne,
    Gousseau and Morel, Random Phase Textures, IEEE TIP 2011). It is a linear filter of gain 1, around the patch: white
    noise stays white noise, means stay means. What super-resolution undoes is not the same everywhere, so that there
    input and target are a pair but nearly (5 to 7 grey levels off at scales 2 to 4). `step` is the seed.

    Raises:
      ValueError: for targets of another size than the inputs.
    """
    if X.shape[1:] != Y.shape[1:]:
        raise ValueError(f"textures: expected targets of the inputs' size, got {list(Y.shape[1:])} for "
                         f"{list(X.shape[1:])}; train without them (textures=0)")
    B, H, W, _ = tf.unstack(tf.shape(X))
    noise = tf.signal.rfft2d(tf.random.stateless_normal([B, 1, H, W], tf.stack([step, 4]), alg="philox"))
    mean = tf.cast(tf.pad([[1.0]], [[0, H - 1], [0, W // 2]]), tf.complex64)
    shift = mean + (1.0 - mean) * noise / tf.cast(tf.abs(noise), tf.complex64)

    def shifted(images):
        spectrum = tf.signal.rfft2d(tf.transpose(images, [0, 3, 1, 2]))
        return tf.transpose(tf.signal.irfft2d(spectrum * shift, [H, W]), [0, 2, 3, 1])

    return shifted(X), shifted(Y)


def rivals(host: keras.Model, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Keys of others: their triggers as the host gets them, [N, H, W, C], and their S0."""
    triggers, initials = random_keys(key.kind, pool(key), "a rival's key")
    return inference.model_input(host, triggers, key.kind), initials


def _rival(host, key):
    triggers, initials = map(tf.constant, rivals(host, key))

    def loss_fn(M, _, __, X, Y, step, life):
        i = life % len(triggers)
        answer = alone(M, triggers[i:i + 1])
        return task_loss(M, X, Y) + RIVAL_STRENGTH * tf.reduce_sum(tf.square(answer - initials[i:i + 1])), {}

    return loss_fn
