"""Keras models as traced functions: one for every image size or, where a layer wants to know it, one a size."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from watermark.errors import FAILURES, raised_as
from watermark.ports import SuspectError

_FORWARDS = weakref.WeakKeyDictionary()  # {model: {precision: its traced function}}
TRIED = 384  # pixels a side that such a model is first traced with; a multiple of every power of 2 to 128, and of 12
KEPT = 16  # sizes whose traces are kept


def forward(model: keras.Model, precision: str = "float32") -> Callable[[tf.Tensor], tf.Tensor]:
    """A function of float32 tensors [N, H, W, C] that runs a Keras model in inference mode, traced once a precision."""
    made = _FORWARDS.setdefault(model, {})
    if precision not in made:
        made[precision] = _traced(model)
    return made[precision]


def sized(model: keras.Model) -> bool:
    """Whether a model of free sides has to be traced for each size, and cannot be written for all."""
    return isinstance(forward(model), _Sized)


def _traced(model):
    reference = weakref.ref(model)  # or the trace would keep its model, and the dictionary both
    try:
        return _trace(reference, model.input_shape)
    except FAILURES:  # bilinear UpSampling2D, for one, cannot take sides that are not known
        if all(model.input_shape[1:3]):
            raise
        return _Sized(reference, model.input_shape)


def _trace(reference, shape):
    run = tf.function(lambda x: tf.cast(reference()(x, training=False), tf.float32))
    return run.get_concrete_function(tf.TensorSpec(shape, tf.float32))


class _Sized:
    """A trace for each size; whatever is wrong with the model besides is said at once."""

    tried = TRIED

    def __init__(self, reference, shape):
        count, *sides, channels = shape
        self._run = functools.lru_cache(KEPT)(lambda *size: _trace(reference, (count, *size, channels)))
        self._run(*(own or TRIED for own in sides))

    def at(self, height, width):
        """The trace for images of this size."""
        with raised_as(SuspectError, f"the network takes no images of {height}x{width} pixels"):
            return self._run(height, width)

    def __call__(self, images):
        return self.at(*images.shape[1:3])(images)
