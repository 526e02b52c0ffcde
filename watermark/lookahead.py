"""Losses taken where training without them leads, so that what they ask for outlives such training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf

from watermark.losses import gradients_of, taken
from watermark.recipes import ON_THE_WAY, SHORTEST


class Drift(Protocol):
    """Where training without a loss leads; it has a state of its own."""

    variables: list

    def ahead(self, model: keras.Model, weights: list, gradients: list, batch: tuple) -> list:
        """The weights at which the loss is to be taken this step; `gradients` are those of the other loss."""

    def joined(self, gradients: list, later: list) -> list:
        """Of the other loss's gradients and this one's there, those that the weights take a step along."""


class Ahead(Protocol):
    """A second loss, `loss_fn` as for `training.fit`, taken not at the weights but at those of its drift."""

    loss_fn: Callable

    def drift(self, weights: list) -> Drift:
        """Its state for a model with these trainable weights, before the first step."""


@dataclass(frozen=True)
class Lookahead:
    """A second loss, taken a step along the path of training without it.

    Adam on the first loss alone would move the weights along its running mean gradient over the root of its running
    square. The second loss is taken a random share of `distance` along that path, and its gradient there is applied
    here (to first order, as in Nichol et al., arXiv:1803.02999): what it asks for then outlives such training.

    Attributes:
      loss_fn: as for `training.fit`.
      distance: longest, in units of weights; Adam's fine-tuning moves a weight by its learning rate a step at most.
    """

    loss_fn: Callable
    distance: float

    def drift(self, weights: list) -> Drift:
        """Adam's direction for the first loss alone."""
        return _Direction(weights, self.distance)


class _Both:
    """A drift whose loss is trained beside the other one."""

    def joined(self, gradients, later):
        """Their sum."""
        return [g + h for g, h in zip(gradients, later, strict=True)]


class _Direction(_Both):
    def __init__(self, weights, distance):
        self.distance = distance
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.mean, self.square = _like(weights), _like(weights)
        self.variables = [self.steps, *self.mean, *self.square]

    def ahead(self, model, weights, gradients, batch):
        """`weights` after this step's share of the distance."""
        self.steps.assign_add(1)
        share = self.distance * _uniform(self.steps, 0)
        t = tf.cast(self.steps, tf.float32)
        return [w - share * _adam(g, m, v, t) for w, g, m, v in zip(weights, gradients, self.mean, self.square,
                                                                    strict=True)]


@dataclass(frozen=True)
class Shadow:
    """A second loss, taken at weights that a thief's training has really led to.

    Beside the weights runs a drift: every step it takes one step of Adam on the thief's loss at weights + drift. The
    second loss is taken there, or (`ON_THE_WAY`) somewhere on the way, and its gradient applied to the weights. After
    `SHORTEST` to 1 times `horizon` steps, drawn anew each time, another thief begins at the weights.

    Attributes:
      loss_fn: as for `training.fit`.
      thieves: (loss as for `training.fit`, Adam's learning rate, share of the lives that it leads) of each kind of
        thief; a loss is given the batch and, after it, the number of the life.
      horizon: steps of the longest life.
    """

    loss_fn: Callable
    thieves: tuple[tuple[Callable, float, float], ...]
    horizon: int

    def drift(self, weights: list) -> Drift:
        """The thief's way so far."""
        return _Life(weights, self.thieves, self.horizon)


class _Life(_Both):
    def __init__(self, weights, thieves, horizon):
        self.thieves, self.horizon = thieves, horizon
        self.lives, self.age, self.left, self.kind, self.steps = (
            tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(5))
        self.way, self.mean, self.square = _like(weights), _like(weights), _like(weights)
        self.variables = [self.lives, self.age, self.left, self.kind, self.steps, *self.way, *self.mean, *self.square]

    def ahead(self, model, weights, gradients, batch):
        """`weights` and this step's share of the thief's way, which is a step longer afterwards."""
        self.steps.assign_add(1)
        tf.cond(self.left < 1, self._begin, lambda: tf.constant(False))
        draw = _uniform(self.steps, 0)  # one draw serves both: whether, and how far
        share = tf.where(draw < ON_THE_WAY, draw / ON_THE_WAY, 1.0)
        moved = [w + share * d for w, d in zip(weights, self.way, strict=True)]
        self.age.assign_add(1)
        self.left.assign_sub(1)
        there = [w + d for w, d in zip(weights, self.way, strict=True)]
        tf.switch_case(tf.cast(self.kind, tf.int32), [
            lambda thief=thief: self._step(thief, with_weights(model, there), there, batch) for thief in self.thieves])
        return moved

    def _begin(self):
        self.lives.assign_add(1)
        self.age.assign(0)
        for variable in (*self.way, *self.mean, *self.square):
            variable.assign(tf.zeros_like(variable))
        length = self.horizon * (SHORTEST + (1.0 - SHORTEST) * _uniform(self.lives, 1))
        self.left.assign(tf.cast(tf.math.ceil(length), tf.int64))
        shares = tf.cumsum(tf.constant([share for _, _, share in self.thieves], tf.float32), exclusive=True)
        self.kind.assign(tf.reduce_sum(tf.cast(_uniform(self.lives, 2) >= shares, tf.int64)) - 1)
        return tf.constant(True)

    def _step(self, thief, model, there, batch):
        loss_fn, rate, _ = thief
        with tf.GradientTape() as tape:
            tape.watch(there)
            total, _ = loss_fn(model, *batch, self.lives)
        t = tf.cast(self.age, tf.float32)
        for d, g, m, v in zip(self.way, taken(tape, total, there), self.mean, self.square, strict=True):
            d.assign_sub(rate * _adam(g, m, v, t, 0.999))
        return tf.constant(True)


@dataclass(frozen=True)
class Perturbed:
    """A second loss, taken where it suffers most near where another would have it taken.

    From there, each weight W goes against the loss by up to `size` of its own norm, W + a size |W| G / |G| with a from
    U(0, 1): Gan et al., Towards Robust Model Watermark via Reducing Parametric Vulnerability (ICCV 2023), whose step
    is whole (a = 1) and who keep the loss at W beside it; the draw has it there for one pass less.

    Attributes:
      where: says where the loss is taken otherwise.
      size: share of a weight's norm, .01 to .05 in the source.
    """

    where: Ahead
    size: float
    loss_fn = property(lambda self: self.where.loss_fn)

    def drift(self, weights: list) -> Drift:
        """The other's, and the count of steps."""
        return _Against(self.where, self.where.drift(weights), self.size)


class _Against:
    def __init__(self, where, drift, size):
        self.loss_fn, self.drift, self.size = where.loss_fn, drift, size
        self.joined = drift.joined
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.variables = [self.steps, *drift.variables]

    def ahead(self, model, weights, gradients, batch):
        """Where the drift leads, and on from there against the loss."""
        self.steps.assign_add(1)
        there = self.drift.ahead(model, weights, gradients, batch)
        against, _ = gradients_of(self.loss_fn, with_weights(model, there), there, batch)
        share = self.size * _uniform(self.steps, 3)
        return [w + share * tf.norm(w) * tf.math.divide_no_nan(g, tf.norm(g))
                for w, g in zip(there, against, strict=True)]


@dataclass(frozen=True)
class Projected:
    """A second loss that after some steps is no longer trained; the other's gradient is kept from raising it.

    Where a step along the other loss's gradient g would raise this one, whose gradient is h, what raises it is taken
    out of g: g - (g h / h h) h, all weights as one vector. A-GEM, Chaudhry et al., Efficient Lifelong Learning with
    A-GEM (ICLR 2019), Eq. (11). It holds for a step along g; momentum and Muon's orthogonalization come after it.

    Attributes:
      where: says where the loss is taken.
      after: steps in which it is trained.
    """

    where: Ahead
    after: int
    loss_fn = property(lambda self: self.where.loss_fn)

    def drift(self, weights: list) -> Drift:
        """The other's, and the count of steps."""
        return _Guarded(self.where.drift(weights), self.after)


class _Guarded:
    def __init__(self, drift, after):
        self.drift, self.after = drift, after
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.variables = [self.steps, *drift.variables]

    def ahead(self, model, weights, gradients, batch):
        """Where the drift leads."""
        self.steps.assign_add(1)
        return self.drift.ahead(model, weights, gradients, batch)

    def joined(self, gradients, later):
        """g + c h, where c takes h out of g once it is no longer trained."""
        across, along = (tf.add_n([tf.reduce_sum(a * h) for a, h in zip(those, later, strict=True)])
                         for those in (gradients, later))
        out = tf.math.divide_no_nan(-tf.minimum(across, 0.0), along)
        share = tf.where(self.steps > self.after, out, 1.0)
        return [g + share * h for g, h in zip(gradients, later, strict=True)]


def _like(weights):
    return [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]


def _uniform(step, stream):
    return tf.random.stateless_uniform([], tf.stack([step, stream]), alg="philox")


def _adam(gradient, mean, square, t, slow=0.99):
    """Adam's direction at step t, its state brought up to date."""
    mean.assign(0.9 * mean + 0.1 * gradient)
    square.assign(slow * square + (1.0 - slow) * gradient * gradient)
    return (mean / (1.0 - 0.9**t)) / (tf.sqrt(square / (1.0 - slow**t)) + 1e-8)


def with_weights(model: keras.Model, weights: list) -> Callable[..., Any]:
    """`model` as a function, with other trainable weights."""
    rest = model.non_trainable_variables
    return lambda inputs, training=False: model.stateless_call(weights, rest, inputs, training=training)[0]
