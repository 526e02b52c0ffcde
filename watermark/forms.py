"""What a network takes and makes: its sizes, scale and channels, and whether it can be trained."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from cachetools import cached

from watermark import losses
from watermark.errors import FAILURES, ModelError, first_line
from watermark.hosts.folding import always_training, every_layer
from watermark.models import check_finite
from watermark.ports import Unreachable

# Tried in this order. A U-Net of four halvings wants multiples of 16, transformers those of their windows.
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96, 128)
PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
SMALLEST = 33  # pixels a side of a trial, and more: some networks want a few dozen whatever their step


@dataclass(frozen=True)
class Form:
    """What goes into a network and comes out.

    Attributes:
      sides: (height, width) that it takes, None where it is free.
      step: free sides are multiples of this.
      scale: how many times the input's the answer's sides are.
      channels: 1 or 3.
    """

    sides: tuple[int | None, int | None]
    step: int
    scale: int
    channels: int

    def fits(self, height: int, width: int) -> bool:
        """Whether the network takes images of that size."""
        return all(side == own if own else side % self.step == 0
                   for side, own in zip((height, width), self.sides, strict=True))

    def above(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size that the network takes and that is not below that one; a fixed size as it is."""
        return tuple(own or -(-side // self.step) * self.step
                     for side, own in zip((height, width), self.sides, strict=True))

    def size(self, wanted: int) -> int | tuple[int, int]:
        """`above` for a square, as a key's size: a side, or (height, width)."""
        height, width = self.above(wanted, wanted)
        return height if height == width else (height, width)

    def inside(self, height: int, width: int) -> tuple[int, int]:
        """The largest size that the network takes of an image of that size; 0 where the image is too small."""
        return tuple((own if own <= side else 0) if own else side - side % self.step
                     for side, own in zip((height, width), self.sides, strict=True))

    def __str__(self):
        if all(self.sides):
            return f"{self.sides[0]}x{self.sides[1]} only"
        return "any" if self.step == 1 else f"multiples of {self.step}"


def check_weights(model: keras.Model) -> None:
    """Refuses a network that cannot be trained here: its weights are frozen, not finite, or not in float32.

    Raises:
      ModelError: with the way to convert it; mixed policies, whose weights are float32, pass.
    """
    if "int" in (dtype := model.outputs[0].dtype):
        raise ModelError(f"{model.name} answers in {dtype}, through which no training reaches its weights; expected "
                         "real numbers: save it without its last round and cast")
    if always := [layer.name for layer in every_layer(model) if always_training(layer)]:
        raise ModelError(f"{model.name} has layers that are always in training (training=True: {', '.join(always)}), "
                         "whose answers hang on chance or on the images beside; build the same network without, then "
                         "new.set_weights(old.get_weights())")
    other = sorted({variable.dtype for variable in model.trainable_variables} - {"float32"})
    if other:
        raise ModelError(f"{model.name} has weights in {other[0]}, expected float32: build the same network after "
                         "keras.config.set_dtype_policy('float32'), then new.set_weights(old.get_weights())")
    if not model.trainable_variables:
        raise ModelError(f"{model.name} has no trainable weights, which the mark would go into; set trainable = True "
                         "on its layers and save it again")
    check_finite(model)


def check_learns(model: keras.Model, shape: Form) -> None:
    """Refuses, with a ModelError, a network from whose answer no gradient reaches a weight, as one that rounds it."""
    asked = (model.input_shape[0] or 1, *shape.above(16, 16), shape.channels)

    @tf.autograph.experimental.do_not_convert
    def learn(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(model(image, training=False), tf.float32))
        return losses.taken(tape, loss, model.trainable_variables)

    tf.function(learn).get_concrete_function(tf.TensorSpec(asked, model.inputs[0].dtype))  # traced, not run


@cached(weakref.WeakKeyDictionary(), key=lambda model: model)  # a model that nobody else has goes
def form(model: keras.Model) -> Form:
    """The `Form` of an image-to-image network of one input and output; free sides are found by trying.

    Raises:
      ModelError: it is none, takes other than 1 or 3 channels, or no size that was tried.
    """
    shape = model.input_shape
    if len(model.output_shape) != 4:
        raise ModelError(f"{model.name}: expected an image to an image, got {shape} to {model.output_shape}")
    if first := next((layer for layer in every_layer(model)
                      if getattr(layer, "data_format", None) == "channels_first"), None):
        raise ModelError(
            f"{model.name} is channels_first, [N, C, H, W] (layer {first.name}); expected [N, H, W, C]. Build the same "
            "network after keras.config.set_image_data_format('channels_last') (and axis=-1 for axis=1), then "
            "new.set_weights(old.get_weights()): the weights are the same in both")
    if shape[-1] not in (1, 3):
        first = shape[1] in (1, 3)
        raise ModelError(f"{model.name}: expected images of 1 or 3 channels, [N, H, W, C], got {list(shape)}" + (
            "; this looks like channels_first, [N, C, H, W]: put keras.layers.Permute((3, 1, 2)) before it and "
            "keras.layers.Permute((2, 3, 1)) behind it" if first else ""))
    if all(shape[1:3]):  # its shapes are known: no need to run what may be large
        answer = model.compute_output_shape((1, *shape[1:]))
        return Form(tuple(shape[1:3]), 1, _scale(answer[1:], shape[1:], model.name), shape[-1])
    return probe(lambda images: model(images, training=False).shape, model.name, shape[-1], shape[1:3])


def probe(ask: Callable, name: str, channels: int, sides: tuple = (None, None), steps: tuple = STEPS) -> Form:
    """The `Form` of whatever gives the shape of its answer to images [1, H, W, C]; free sides are found by trying."""
    for step in (1,) if all(sides) else steps:
        height, width = (own or side for own, side in zip(sides, _trial(step), strict=True))
        asked = height, width, channels
        try:
            return Form(tuple(sides), step, _scale(ask(np.zeros((1, *asked), "float32"))[1:], asked, name), channels)
        except Unreachable:
            raise
        except FAILURES as error:  # whatever a graph says of sizes that do not fit
            reason = error
    tried = "x".join(map(str, sides)) if all(sides) else f"whose sides are multiples of {steps[-1]} or less"
    raise ModelError(f"{name} takes no image {tried}, {channels} channel{'s' * (channels > 1)}: {first_line(reason)}")


def _trial(step):
    """Two sides, prime multiples of `step`."""
    return tuple(prime * step for prime in PRIMES if prime * step >= SMALLEST)[:2]


def _scale(answer, asked, name):
    """How many times the image asked the answer is; a ModelError unless that is a whole number."""
    height, width, channels = asked
    scale = (answer[0] or height) // height
    if scale < 1 or tuple(answer) != (scale * height, scale * width, channels):
        raise ModelError(f"{name} makes {list(answer)} of {list(asked)}; expected the same size or a whole multiple, "
                         "and as many channels")
    return scale
