"""The auxiliary visualizer R(.; phi): a copyright image that the verification key calls up (section IV-D)."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image, ImageOps

from watermark import data, metrics
from watermark.keys import Key, random_keys
from watermark.recipes import VISUALIZER, Showing, changed
from watermark.training import Run, fit, identified

IMAGE_SHAPE = (320, 320, 1)
FIRST = 64  # filters of the first convolution
ENCODER = ((128, 3, 2), (256, 1, 2), (512, 1, 1))  # (filters, kernel, stride) of those that follow
DECODER = ((512, 1), (512, 3), (256, 3), (128, 5), (64, 5))  # (filters, kernel), each behind an upsampling
POOL = 256  # other keys that it refuses
GREY = 0.5  # what R shows to others: 6 dB from any black and white image


def build_visualizer(key_shape: tuple[int, int, int] = (40, 40, 1),
                     image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> keras.Model:
    """The network of Fig. 5, untrained: an encoder, then six times nearest-neighbour upsampling and convolution.

    Args:
      key_shape: of the verification image, any [M, N, C]; it is first resized to an eighth of the image, for which
        40x40 is 320x320.
      image_shape: of the copyright image, [P, Q, C] with P and Q multiples of 64.

    Returns:
      A `keras.Model`, float32 [B, M, N, C] -> [B, P, Q, C] on [0, 1].
    """
    height, width, channels = image_shape
    if height % 64 or width % 64:
        raise ValueError(f"expected an image with sides that are multiples of 64, got {height}x{width}")
    inputs = x = keras.Input(key_shape, name="verification_image")
    if tuple(key_shape[:2]) != (height // 8, width // 8):
        x = layers.Resizing(height // 8, width // 8, antialias=True)(x)
    x = layers.ReLU()(layers.Conv2D(FIRST, 3, strides=2, padding="same")(x))
    for filters, kernel, strides in ENCODER:
        x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    for filters, kernel in DECODER:
        x = layers.UpSampling2D()(x)
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Conv2D(channels, 5, padding="same", activation="sigmoid")(layers.UpSampling2D()(x))
    return keras.Model(inputs, x, name="visualizer")


def train_visualizer(key: Key, image: np.ndarray, *, unmarked: np.ndarray | None = None, recipe: Showing = VISUALIZER,
                     seed: int = 0, run: Run = Run(title="visualizer"), **changes) -> keras.Model:
    """Trains R to answer the key's verification image with the copyright image, and nothing else (Eq. 9).

    With Eq. (9) alone R may put the image into its biases and show it to anyone. Half of each batch is therefore
    refused, with flat grey for a target, and R learns the paper's rule: it sees through damage to S up to eta, in the
    direction of the unmarked network's answer, where attacks lead, and in any other; and refuses what is beyond.
    4 to 7 minutes on 2 cores for an image of 320x320; results/quick/figures/fig8.png and fig9.png show what it comes
    to.

    Args:
      key: a `Key`, its S updated.
      image: uint8, or floats on [0, 1]; [P, Q] or [P, Q, C], sides multiples of 64.
      unmarked: what the network answered to the key before it was marked, [M, N, C]. It is refused even if it is within
        eta of S, as a super-resolution network's may be.
      recipe: of the training; half of a batch is shown, half refused.
      seed: of the initial weights, the damage and the other keys.
      run: as for `training.fit`; the loss's parts are "own" and "others", per pixel.
      **changes: fields of the recipe or of the run to change, such as steps=300.

    Returns:
      The visualizer; `show` runs it.
    """
    recipe, run = changed((recipe, run), changes)
    target = as_target(image)
    keras.utils.set_random_seed(seed)
    R = build_visualizer(key.verification.shape, target.shape)
    away = () if unmarked is None else (np.asarray(unmarked),)
    run = replace(run, about=identified(R, key.trigger, key.verification, target, *away))
    fit(R, _visualizer_loss(target), _batches(key, unmarked, recipe, seed), recipe, run)
    return R


def as_picture(image: np.ndarray, side: int = IMAGE_SHAPE[0]) -> np.ndarray:
    """An image of `read_image` as a copyright image: grey, square by borders like its corner, resized.

    Returns:
      uint8 [side, side].
    """
    image = Image.fromarray(data.eight_bits(data.grey(image)))
    return np.asarray(ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS, color=image.getpixel((0, 0))))


def as_target(image: np.ndarray) -> np.ndarray:
    """float32 [P, Q, C] on [0, 1] from [P, Q] or [P, Q, C], uint8 or on [0, 1]; a DataError for any other array."""
    return data.with_channel(data.unit(data.checked(image, None)))


def show(visualizer: keras.Model, response: np.ndarray) -> np.ndarray:
    """The copyright image that a response calls up.

    Args:
      visualizer: from `train_visualizer`.
      response: the suspect's answer [M, N, C].

    Returns:
      float32 [P, Q, C] on [0, 1].
    """
    response = np.asarray(response, np.float32)
    if response.shape != visualizer.input_shape[1:]:
        raise ValueError(f"the visualizer takes answers of shape {visualizer.input_shape[1:]}, got {response.shape}")
    # Batch norm in inference mode: statistics of this one answer would change what R shows.
    return np.asarray(visualizer(response[None], training=False))[0]


def _visualizer_loss(target):
    pixels = float(target.size)

    def loss_fn(R, S, others):
        answers = R(tf.concat([S, others], 0), training=True)
        own, refused = tf.split(answers, [tf.shape(S)[0], tf.shape(others)[0]])
        own = tf.reduce_sum(tf.square(own - target)) / tf.cast(tf.shape(S)[0], tf.float32)  # Eq. (9)
        refused = tf.reduce_sum(tf.square(refused - GREY)) / tf.cast(tf.shape(others)[0], tf.float32)
        return own + refused, {"own": own / pixels, "others": refused / pixels}

    return loss_fn


def _batches(key, unmarked, recipe, seed):
    """Batch i: half of a batch of answers to be shown, S damaged within the edge, and as many to be refused.

    Two in three of those are S damaged beyond the edge, the others what other keys ask for, with noise. The edge is
    eta, or nearer where the unmarked network's answer is, which has to lie beyond.
    """
    S = tf.constant(key.verification, tf.float32)
    length = float(tf.norm(tf.ones_like(S)))
    edge = metrics.threshold(key.verification.size) * key.verification.size
    if unmarked is None:
        away = tf.random.stateless_normal(S.shape, [seed, -1], alg="philox")
    else:
        away = unmarked - S
        edge = min(edge, recipe.nearest * float(tf.norm(away)))
    away /= tf.norm(away)
    others, count = tf.constant(random_keys(key.kind, POOL, f"visualizer {seed}")[1]), recipe.batch_size // 2

    def make(i):
        seeds = iter(tf.unstack(tf.random.split(tf.stack([tf.cast(seed, tf.int64), i]), 10, alg="philox")))

        def uniform(low=0.0, high=1.0):
            return tf.random.stateless_uniform([count, 1, 1, 1], next(seeds), low, high, alg="philox")

        def noise():
            return tf.random.stateless_normal([count, *S.shape], next(seeds), alg="philox") / length

        def damaged(share):
            angle = uniform(0.0, np.pi / 2)  # attacks lead to the unmarked network's answer, and a little astray
            return S + edge * share * (tf.cos(angle) * away + tf.sin(angle) * noise())

        shown = damaged(recipe.shown * tf.sqrt(uniform()))  # many near the edge, on either side of it
        beyond = damaged(recipe.refused + (recipe.farthest - recipe.refused) * tf.square(uniform()))
        chosen = tf.random.stateless_uniform([count], next(seeds), maxval=POOL, dtype=tf.int32, alg="philox")
        strangers = tf.gather(others, chosen) + edge * uniform() * noise()
        return shown, tf.where(uniform() < 2 / 3, beyond, strangers)

    return lambda start: tf.data.Dataset.range(start, tf.int64.max).map(make).prefetch(4)
