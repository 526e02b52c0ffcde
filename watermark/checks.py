"""What embedding and training are handed from Python, looked at before it costs anything."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from watermark.errors import ModelError
from watermark.footprint import memory

ENDLESS = ("expected a function of the first step's number that gives an endless tf.data.Dataset, such as "
           "tasks.Denoising().batches(images, seed=0, batch_size=32, size=40), or of a data set of yours "
           "lambda step: dataset.repeat().skip(step)")
KEPT = 4  # bytes of a number that the gradient needs again; bfloat16 has a copy beside it
LAYERS = ("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "MatMul")  # ops whose answers are kept
# Of a pixel in a batch, or put to an exported SavedModel; noisy images leave [0, 1], those of 8 bits do by far.
FARTHEST = 16.0


def check_model(model: keras.Model, name: str = "model") -> None:
    """Refuses what is no Keras model of one image in real numbers, as which the trigger on [0, 1] reaches it.

    Raises:
      TypeError: it is no model, but a path, say.
      ModelError: it takes integers, and [0, 1] would be 0 to it; or several inputs.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"{name}: expected a Keras model, got {type(model).__name__}; watermark.models.load_model "
                        "reads a file")
    check_one_input(model)
    if "int" in (dtype := model.inputs[0].dtype):
        raise ModelError(f"{model.name} takes {dtype}, and all of [0, 1] would be 0 to it; expected real numbers: "
                         "watermark.ranges.wrapped(model, watermark.fitting.BYTES), whose marked copy's "
                         "watermark.ranges.own is your network again")


def check_one_input(model: keras.Model) -> None:
    """Refuses, with a ModelError, a network of several inputs, which one image does not reach, or of unseen layers."""
    if not getattr(model, "inputs", None):
        raise ModelError(f"{model.name} is a {type(model).__name__}, whose layers cannot be seen; expected a "
                         "functional model: x = keras.Input((None, None, 1)); keras.Model(x, model.call(x))")
    if len(model.inputs) != 1:
        inputs = ", ".join(f"{tensor.name} {list(tensor.shape[1:])}" for tensor in model.inputs)
        raise ModelError(f"{model.name} takes {inputs}; expected one image. Give the others a value: "
                         f"watermark.ranges.wrapped(model, fixed={{{model.inputs[-1].name!r}: 0.1}})")


def begun(batches: Callable, first: int) -> tf.data.Dataset:
    """The data set of training batches from a step on; a TypeError for what gives none."""
    if not callable(batches):
        raise TypeError(f"batches: {ENDLESS}; got {type(batches).__name__}")
    data = batches(first)
    if not isinstance(data, tf.data.Dataset):
        raise TypeError(f"batches: {ENDLESS}; it gives {type(data).__name__}")
    return data


def drawn(advance: Callable, count: int, done: int, steps: int) -> list:
    """`advance(count)`, which draws so many batches after those of `done` steps; a ValueError where they end."""
    try:
        return advance(count)
    except (StopIteration, tf.errors.OutOfRangeError) as error:
        raise ValueError(f"the batches ended before step {done + count} of {steps}; expected an endless data set, such "
                         "as dataset.repeat()") from error


def check_room(model: keras.Model, data: tf.data.Dataset) -> None:
    """Refuses batches that this machine's memory cannot hold: where it runs out, the process ends without a word.

    A step keeps what each convolution answers until its gradient is taken. It needs more than that, so what passes may
    still be too much. A GPU says for itself that its memory is out.

    Raises:
      MemoryError: what is kept of a batch is more than the machine has.
    """
    spec = data.element_spec[0] if isinstance(data.element_spec, tuple) else data.element_spec
    if not (isinstance(spec, tf.TensorSpec) and spec.shape.is_fully_defined() and
            spec.shape.is_compatible_with(model.input_shape)) or tf.config.list_physical_devices("GPU"):
        return
    graph = tf.function(lambda X: model(X, training=True)).get_concrete_function(spec).graph
    kept = KEPT * sum(op.outputs[0].shape.num_elements() or 0 for op in graph.get_operations() if op.type in LAYERS)
    if kept > (there := memory()):
        count, height, width, *_ = spec.shape
        raise MemoryError(f"a step on {count} images {height}x{width} keeps {kept / 2**30:.0f} GiB, this machine has "
                          f"{there / 2**30:.0f}")


def check_batches(batches: Callable, model: keras.Model) -> None:
    """Refuses batches of which no network learns its task; the first one is drawn and looked at.

    Raises:
      TypeError: it is no function, or gives no data set, or none of pairs of tensors.
      ValueError: the pairs are not (inputs, targets), float32 on about [0, 1], as `model` takes and answers them.
      MemoryError: see `check_room`.
    """
    data = begun(batches, 0)
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(one, tf.TensorSpec) for one in spec):
        parts = len(spec) if isinstance(spec, tuple | dict) else 1
        raise TypeError(f"batches: expected pairs (inputs, targets), got {type(spec).__name__} of {parts}; "
                        "dataset.map makes them")
    for name, one in zip(("inputs", "targets"), spec, strict=True):
        if one.dtype != tf.float32:
            way = "divide by 255" if one.dtype.is_integer else "tf.cast or np.float32 makes them"
            raise ValueError(f"batches: expected {name} of float32 on [0, 1], got {one.dtype.name}; {way}")
    check_room(model, data)
    batch = next(iter(data), None)
    if batch is None:
        raise ValueError("batches: expected an endless data set, got an empty one")
    _check_pair(*(part.numpy() for part in batch), model)


def _check_pair(X, Y, model):
    expected = tuple(model.input_shape[1:])
    if X.ndim != 4 or not all(own in (None, side) for own, side in zip(expected, X.shape[1:], strict=True)):
        sides = ", ".join("any" if side is None else str(side) for side in expected)
        raise ValueError(f"batches: {model.name} takes inputs [N, {sides}], got {list(X.shape)}")
    if Y.shape != (answers := tuple(model.compute_output_shape(X.shape))):
        raise ValueError(f"batches: {model.name} answers inputs {list(X.shape)} with {list(answers)}, got targets "
                         f"{list(Y.shape)}; expected them of the answers' shape")
    for name, images in (("inputs", X), ("targets", Y)):
        if not np.abs(images).max(initial=0.0) <= FARTHEST:  # nor NaN
            raise ValueError(f"batches: expected {name} on about [0, 1], got {images.min():.4g} to {images.max():.4g}; "
                             "divide pixels of 8 bits by 255, and wrap a network that takes such "
                             "(watermark.ranges.wrapped)")
