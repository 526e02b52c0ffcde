"""A loss taken where training without it would lead, so that what it asks for outlives such training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Lookahead:
    """A second loss, taken not at the weights but where training without it would lead.

    Adam on the first loss alone would move the weights along its running mean gradient over the root of its running
    square. The second loss is taken a random share of `distance` along that path, and its gradient there is applied
    here (to first order, as in Nichol et al., arXiv:1803.02999): what it asks for then outlives such training.

    Attributes:
      loss_fn: as for `training.fit`.
      distance: longest, in units of weights; Adam's fine-tuning moves a weight by its learning rate a step at most.
    """

    loss_fn: Callable
    distance: float


class Drift:
    """Adam's direction for the first loss alone."""

    def __init__(self, weights: list):
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.mean, self.square = ([tf.Variable(tf.zeros_like(w), trainable=False) for w in weights] for _ in range(2))
        self.variables = [self.steps, *self.mean, *self.square]

    def ahead(self, weights: list, gradients: list, distance: float) -> list:
        """`weights` after this step's share of `distance`."""
        self.steps.assign_add(1)
        share = distance * tf.random.stateless_uniform([], tf.stack([self.steps, 0]), alg="philox")
        t = tf.cast(self.steps, tf.float32)
        moved = []
        for w, g, m, v in zip(weights, gradients, self.mean, self.square, strict=True):
            m.assign(0.9 * m + 0.1 * g)
            v.assign(0.99 * v + 0.01 * g * g)
            moved.append(w - share * (m / (1.0 - 0.9**t)) / (tf.sqrt(v / (1.0 - 0.99**t)) + 1e-8))
        return moved


def with_weights(model: keras.Model, weights: list) -> Callable:
    """`model` as a function, with other trainable weights."""
    rest = model.non_trainable_variables
    return lambda inputs, training=False: model.stateless_call(weights, rest, inputs, training=training)[0]
