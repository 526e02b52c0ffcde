"""Networks as their owners have them, in the form that this project marks: one image on [0, 1] in, one out.

A network on [0, 255] or [-1, 1], or with a second input, is put into a wrapping network that does the conversion; the
network inside stays what its owner saves and runs (`own`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import numpy as np

from watermark.errors import ModelError, chosen
from watermark.fitting import UNIT, Pixels

WRAPPED = "_on_unit_range"  # ends a wrapping network's name
TRIED = 96  # pixels a side that a second input's size is found with; every power of 2 up to 32 divides it
FINER = (1, 2, 4, 8)  # how many times smaller than the image a noise map may be: FFDNet takes one of half the size


def wrapped(model: keras.Model, pixels: Pixels = UNIT, fixed: Mapping[str, float] | None = None,
            output: str | None = None) -> keras.Model:
    """A network [N, H, W, C] on [0, 1] -> the same, with `model` as one layer of it, weights shared.

    With pixels on [0, 1], the default, nothing is converted: an input of an integer type stays one.

    Args:
      model: a functional or sequential Keras model whose pixels are on `pixels`.
      pixels: the range of the model's own. Inputs of an integer type get rounded values.
      fixed: {input's name: value} for every input but the image, in the model's own units: a map, or a vector, of that
        constant goes in with every image.
      output: name of the output to look at, where there are several.

    Raises:
      ModelError: the inputs are not one image and those of `fixed`.
    """
    low, high = pixels
    fixed = dict(fixed or {})
    entry = _image_input(model, fixed)
    name = chosen(model.output_names, output, model.name)
    feed = _Feed(model, entry, fixed)
    x = image = keras.Input(entry.shape[1:], name=entry.name, dtype=entry.dtype if pixels == UNIT else "float32")
    if pixels != UNIT:
        x = keras.layers.Rescaling(high - low, low, name="to_own_range", dtype="float32")(image)
        if "int" in entry.dtype:
            x = _Whole(low, high, entry.dtype, name="to_own_type")(x)
    answer = keras.tree.flatten(model(feed(x)))[model.output_names.index(name)]
    answer = keras.layers.Rescaling(1.0 / (high - low), -low / (high - low), name=name, dtype="float32")(answer)
    return keras.Model(image, answer, name=model.name + WRAPPED)


@keras.saving.register_keras_serializable("watermark")
class _Whole(keras.layers.Layer):
    """Rounded to whole numbers of a type, within a range."""

    def __init__(self, low, high, kind, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.low, self.high, self.kind = low, high, kind

    def call(self, x):
        return keras.ops.cast(keras.ops.clip(keras.ops.round(x), self.low, self.high), self.kind)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, self.kind)

    def get_config(self):
        config = super().get_config()
        return {"low": self.low, "high": self.high, "kind": self.kind, "name": config["name"]}


def own(model: keras.Model) -> keras.Model:
    """The owner's network inside a wrapped one; a model that is not wrapped comes back as it is."""
    name = model.name.removesuffix(WRAPPED)
    return model if name == model.name else model.get_layer(name)


def _image_input(model, fixed):
    """The one input that takes the image."""
    names = [tensor.name for tensor in model.inputs]
    if unknown := sorted(set(fixed) - set(names)):
        raise ModelError(f"{model.name} has no input {unknown[0]!r}; its inputs are {', '.join(names)}")
    images = [tensor for tensor in model.inputs if tensor.name not in fixed]
    if len(images) != 1 or len(images[0].shape) != 4:
        shapes = ", ".join(f"{tensor.name} {_shape(tensor)}" for tensor in model.inputs)
        others = [tensor.name for tensor in images if len(tensor.shape) != 4 or tensor.shape[-1] not in (3, None)][-1:]
        hint = f"; give the others a value, --fixed_input={(others or names[-1:])[0]}:0.1" if len(names) > 1 else ""
        raise ModelError(f"{model.name} takes {shapes}; expected one batch of images [N, H, W, C]{hint}")
    return images[0]


def _shape(tensor):
    return "[" + ", ".join("any" if side is None else str(side) for side in tensor.shape[1:]) + "]"


class _Feed:
    """What a model is called with for an image: the image, and constants for the other inputs."""

    def __init__(self, model, entry, fixed):
        self.model, self.entry, self.fixed = model, entry, fixed
        self.finer = self._fitting() if fixed else 1

    def __call__(self, image, finer=None):
        flat = [image if tensor is self.entry else self._constant(tensor, image, finer or self.finer)
                for tensor in self.model.inputs]
        # A sequential network knows no structure of inputs: it has one.
        return flat[0] if len(flat) == 1 else keras.tree.pack_sequence_as(self.model.input, flat)

    def _constant(self, tensor, image, finer):
        rank, like = len(tensor.shape), keras.ops.cast(image, "float32")
        like = {4: like[:, ::finer, ::finer, :1], 2: like[:, 0, 0, :1], 1: like[:, 0, 0, 0]}.get(rank)
        if like is None:
            raise ModelError(f"{self.model.name}: the input {tensor.name} {_shape(tensor)} is neither a map nor a "
                             "number")
        if rank > 1 and tensor.shape[-1]:
            like = keras.ops.repeat(like, tensor.shape[-1], axis=-1)
        return keras.ops.zeros_like(like) + self.fixed[tensor.name]

    def _fitting(self):
        """How many times smaller than the image the other inputs' maps are."""
        height, width, channels = (side or default for side, default in zip(
            self.entry.shape[1:], (TRIED, TRIED, 1), strict=True))
        image = np.zeros((1, height, width, channels), "float32")
        for finer in FINER:
            try:
                self.model(self(keras.ops.convert_to_tensor(image), finer))
                return finer
            except Exception as error:  # whatever a graph says of sizes that do not fit
                reason = error
        raise ModelError(f"{self.model.name} takes no constant for {', '.join(self.fixed)} beside an image of {height}x"
                         f"{width}: {str(reason).splitlines()[0][:160]}")


def bounds(model: keras.Model, index: int = 0) -> tuple[float, float]:
    """(lowest, highest) that a network's answers can be, as far as its last layers say: -inf, inf without a limit.

    A sigmoid, ReLU or clip at the end limits them: what stands behind the last layer with weights or several inputs is
    tried on constant images.

    Args:
      model: a functional or sequential Keras model.
      index: of the output.
    """
    tensor = answer = model.outputs[index]
    while _plain(operation := tensor._keras_history.operation):
        (tensor,) = operation._inbound_nodes[tensor._keras_history.node_index].input_tensors
    levels = LEVELS
    if isinstance(operation, keras.Model):
        levels = np.clip(levels, *bounds(operation, tensor._keras_history.tensor_index))
    elif callable(activation := getattr(operation, "activation", None)):
        levels = np.array(activation(keras.ops.convert_to_tensor(levels)))
    if tensor is not answer:
        shape, rest = [side or 8 for side in tensor.shape[1:]], keras.Function(tensor, answer)
        piece = max(1, PIECE // math.prod(shape))
        ends = []
        for some in np.array_split(levels, -(-len(levels) // piece)):
            images = np.broadcast_to(some.reshape(-1, *[1] * len(shape)), (len(some), *shape))
            answers = np.array(rest(keras.ops.convert_to_tensor(images, tensor.dtype))).reshape(len(some), -1)
            ends.append(np.stack([answers.min(1), answers.max(1)], 1))
        levels = np.concatenate(ends).astype(np.float64)
    # What still grows at the ends has no limit.
    low, high = float(np.min(levels)), float(np.max(levels))
    near_low, near_high = float(np.min(levels[1:-1])), float(np.max(levels[1:-1]))
    return low if np.isclose(low, near_low) else -np.inf, high if np.isclose(high, near_high) else np.inf


PIECE = 1 << 22  # numbers that a network's last layers are tried on at once
LEVELS = np.float32(np.concatenate([[-6e4, -3e4], np.linspace(-20.0, 20.0, 801), [3e4, 6e4]]))  # float16 holds them


def _plain(operation):
    """Whether an operation makes its answer of one tensor alone, without weights."""
    return (not isinstance(operation, keras.layers.InputLayer) and not getattr(operation, "weights", None)
            and not isinstance(operation, keras.Model)
            and all(len(node.input_tensors) == 1 for node in operation._inbound_nodes))
