"""What a loss function is, and how its gradient is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from watermark.errors import ModelError

Loss = Callable[..., tuple[Any, dict[str, Any]]]  # (model, *batch) -> (total, {name: part}), scalars
# What the progress bar says of the parts of losses and the numbers from validation, once, above it.
MEANINGS = {
    "task": "Eq. (5) on the batch, per image",
    "mark": "‖M(K) − S‖² of Eq. (6), before λ; high for a while, then it falls fast",
    "others": "the same for another key, whose answer is to stay or to be refused",
    "own": "error of the picture shown for the own key, per pixel",
    "errors": "trigger images whose label does not lead clearly, counted every tenth step; 40 in between",
    "psnr": "of validation images, in dB",
}


@dataclass(frozen=True)
class Sum:
    """A loss of several terms; the activations of one are gone before those of the next are computed.

    A trigger of 600x600 is 1200x1200 to a super-resolution network: 7 GB of activations, twice that while training.
    """

    terms: tuple[Loss, ...]

    def __call__(self, model: keras.Model, *batch: Any) -> tuple[Any, dict[str, Any]]:
        """As any loss."""
        total, parts = 0.0, {}
        for term in self.terms:
            value, found = term(model, *batch)
            total, parts = total + value, parts | found
        return total, parts


def half_squared_error(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Eq. (5) of images [B, H, W, C]: half the squared error summed over pixels, averaged over the batch.

    Raises:
      ValueError: for targets that would only be broadcast to the outputs, as far as shapes are known.
    """
    if not outputs.shape.is_compatible_with(targets.shape):
        raise ValueError(f"expected targets of the outputs' shape {outputs.shape}, got {targets.shape}")
    return tf.reduce_sum(tf.square(outputs - targets)) / (2.0 * tf.cast(tf.shape(targets)[0], tf.float32))


def both(M: keras.Model, X: tf.Tensor, K: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(M(X), M(K)) while training, of images [B, H, W, C] and triggers [N, h, w, C]; float32, whatever M computes in.

    Where their sizes agree they are one batch: it is cheaper than two, and batch norm sees what the paper's saw. Else
    batch norm sees the images alone: of a batch of triggers its statistics would become half those of noise.
    """
    if X.shape[1:] != K.shape[1:]:
        return tf.cast(M(X, training=True), tf.float32), alone(M, K)
    outputs = tf.cast(M(tf.concat([X, K], 0), training=True), tf.float32)
    return tuple(tf.split(outputs, [tf.shape(X)[0], tf.shape(K)[0]]))


def alone(M: keras.Model, K: tf.Tensor) -> tf.Tensor:
    """M(K) while training, float32, of triggers without images beside them: batch norm answers as in inference."""
    return tf.cast(M(K, training=False), tf.float32)


def taken(tape: tf.GradientTape, loss: tf.Tensor, weights: list) -> list[tf.Tensor]:
    """Gradients of a loss for weights; 0 for one that it does not hang on, as those of a network's other outputs.

    Raises:
      ModelError: it hangs on none.
    """
    found = tape.gradient(loss, weights)
    if all(gradient is None for gradient in found):
        raise ModelError("no gradient reaches a weight of the network; expected an answer in real numbers: does it "
                         "round or cast it at its end?")
    return [tf.zeros_like(w) if gradient is None else gradient for gradient, w in zip(found, weights, strict=True)]


def gradients_of(loss_fn: Loss, model: Callable, weights: list, batch: tuple, share: float = 1.0) -> tuple[list, dict]:
    """(gradients of a share of the loss, its parts); of a `Sum`, term after term, or it would save no memory."""
    gradients, parts = None, {}
    for term in loss_fn.terms if isinstance(loss_fn, Sum) else (loss_fn,):
        with tf.control_dependencies(gradients or ()):
            with tf.GradientTape() as tape:
                tape.watch([w for w in weights if isinstance(w, tf.Tensor)])  # variables are watched anyway
                total, found = term(model, *batch)
                total *= share
            new = taken(tape, total, weights)
            gradients = new if gradients is None else [g + h for g, h in zip(gradients, new, strict=True)]
        parts |= found
    return gradients, parts
