"""What both baselines share: normal draws, the way of a trigger into a host, and one call of the training loop."""

import contextlib
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from watermark import inference
from watermark.embedding import frozen_norms
from watermark.hosts import fold_batch_norm
from watermark.keys import uniform
from watermark.recipes import Recipe
from watermark.training import Batches, Run, clone, fit

QUANTILES = 1 << 16
FINENESS = 1 << 12


@functools.cache
def _quantiles():
    return np.float32(np.round(FINENESS * special.ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)) / FINENESS)


def normal(seed: str, shape: tuple) -> np.ndarray:
    """N(0, 1), float32, the same on any machine.

    Each draw is one of 65,536 equally likely quantiles (the outermost 4.3), rounded to 1/4096: no quantile lies so
    near to the middle of two such steps that a machine's rounding could decide.
    """
    return _quantiles()[np.int32(uniform(seed, shape) * QUANTILES)]


def integers(seed: str, shape: tuple, below: int = 256) -> np.ndarray:
    """Uniform int64 on 0 ... below - 1, the same on any machine; `below` is a power of 2 up to 2^24, or near enough."""
    return np.int64(np.float64(uniform(seed, shape)) * below)


def triggers_for(host: keras.Model, triggers: np.ndarray, kind) -> tf.Tensor:
    """Trigger images [N, H, W, C] as `host` gets them; a ValueError unless it answers with images of `kind`'s size."""
    fed = inference.model_input(host, triggers, kind)
    answer = tuple(host.compute_output_shape(fed.shape))[1:]
    if answer != kind.answer_shape:
        raise ValueError(f"{host.name} answers the trigger {list(fed.shape[1:])} with an image {list(answer)}, the key "
                         f"wants {list(kind.answer_shape)}; make a key for this kind of model")
    return tf.constant(fed)


def answers(M, X, K):
    """(M(X), M(K)) while training; in one batch where the sizes agree, which is cheaper than two."""
    if X.shape[1:] != K.shape[1:]:
        return M(X, training=True), M(K, training=True)
    outputs = M(tf.concat([X, K], 0), training=True)
    return outputs[:-K.shape[0]], outputs[-K.shape[0]:]


def half_squared_error(outputs, Y):
    """Eq. (5), of outputs that are there already."""
    return tf.reduce_sum(tf.square(outputs - Y)) / (2.0 * tf.cast(tf.shape(Y)[0], tf.float32))


def train(host: keras.Model, loss_for: Callable, batches: Batches, recipe: Recipe, run: Run) -> keras.Model:
    """A copy of `host`, trained by `recipe` on `loss_for(copy)`."""
    with run.compute.placement.scope():
        marked = fold_batch_norm(host) if recipe.fold else clone(host)
    with frozen_norms(marked) if recipe.fold else contextlib.nullcontext():
        fit(marked, loss_for(marked), batches, recipe, run)
    return marked
