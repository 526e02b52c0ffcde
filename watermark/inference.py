"""Running networks on images, in float32 unless told otherwise."""

import platform

import keras
import numpy as np
import tensorflow as tf

from watermark import metrics
from watermark.errors import WatermarkError
from watermark.training import Compute

PIXELS = 1 << 18  # per call, which bounds memory at about 200 MB for 64 channels


class SuspectError(WatermarkError, RuntimeError):
    """A suspect that does not answer, or not with an image of the expected size."""


def predictor(model, precision="float32"):
    """A function float32 [N, H, W, C] -> float32 [N, H', W', C'] that runs `model` in inference mode.

    One trace serves every image size; large inputs are fed in pieces.
    """
    compute = Compute(precision)
    signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
    forward = tf.function(lambda x: tf.cast(model(x, training=False), tf.float32)).get_concrete_function(signature)

    def predict(images):
        images = np.asarray(images, np.float32)
        _check_input(model, images)
        piece = max(1, PIXELS // (images.shape[1] * images.shape[2]))
        with compute.active():
            outputs = [forward(tf.constant(images[i:i + piece])).numpy() for i in range(0, len(images), piece)]
        return np.concatenate(outputs)

    return predict


def _check_input(model, images):
    expected = tuple(model.input_shape[1:])
    fits = images.ndim == 4 and all(e in (None, s) for e, s in zip(expected, images.shape[1:], strict=False))
    if not fits:
        sides = ", ".join("any" if side is None else str(side) for side in expected)
        raise ValueError(f"{model.name} takes images [N, {sides}], got {list(images.shape)}")
    if not np.isfinite(images).all():
        raise ValueError("expected finite pixels, got NaN or infinity in the input image")


def single_output(model, name=None):
    """`model` with one of its outputs, weights shared; itself if it has one only.

    Args:
      model: a Keras model.
      name: of the output, as in `model.output_names`; needed where there are several.
    """
    names = getattr(model, "output_names", ["output"])
    if name is None and len(names) == 1:
        return model
    if name not in names:
        raise ValueError(f"{model.name} has the outputs {', '.join(names)}; name one of them (--output=NAME)"
                         + (f", not {name!r}" if name else ""))
    if len(names) == 1:
        return model
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs  # a list of one, Keras would warn of a tensor
    return keras.Model(inputs, model.outputs[names.index(name)], name=model.name)


def upsampled(images, kind):
    """Trigger images [N, H, W, C] of a super-resolution key at the size of its verification image (bicubic)."""
    size = [side * kind.scale for side in images.shape[1:3]]
    return tf.image.resize(images, size, "bicubic", antialias=True).numpy()


def door(model, images, kind):
    """What a Keras model is fed for trigger images [N, H, W, C].

    The black box of super-resolution is "small image in, large image out". A host that keeps the size, such as VDSR,
    is half of that box: the other half, bicubic upsampling, is done here.
    """
    images = np.asarray(images, np.float32)
    if kind.task != "sr":
        return images
    inside = model.compute_output_shape((1, *images.shape[1:]))
    return upsampled(images, kind) if tuple(inside[1:3]) == images.shape[1:3] else images


def as_suspect(suspect, kind):
    """A callable [N, H, W, C] -> [N, H', W', C] for a key's `kind`, from a Keras model or from such a callable.

    A callable that keeps the size gets super-resolution triggers upsampled, as a Keras model does; the first query
    shows which it is.
    """
    if isinstance(suspect, keras.Model):
        predict = predictor(suspect)
        return lambda images: predict(door(suspect, images, kind))
    if not callable(suspect):
        raise TypeError(f"expected a Keras model or a callable on image batches, got {type(suspect).__name__}")
    return _Upscaler(suspect, kind) if kind.task == "sr" else suspect


class _Upscaler:
    def __init__(self, suspect, kind):
        self.suspect, self.kind, self.keeps_size = suspect, kind, None

    def __call__(self, images):
        if self.keeps_size is None:
            first = np.asarray(self.suspect(images[:1]))
            self.keeps_size = first.shape[1:3] == images.shape[1:3]
            if len(images) == 1 and not self.keeps_size:
                return first
        return self.suspect(upsampled(images, self.kind) if self.keeps_size else images)


def evaluate(model, task, images, variant=None, *, metric=metrics.psnr, precision="float32"):
    """Quality of `model` on each image, by default PSNR in dB.

    Args:
      model: a host, plain, marked or attacked.
      task: one of `watermark.tasks.TASKS.values()`.
      images: uint8 images [H, W] or [H, W, 3], or whatever the task's `pairs` takes.
      variant: one of `task.variants` (a scale), or None for all of them.
      metric: (output, target) -> number, such as `metrics.ssim`, or -> tuple of numbers.

    Returns:
      float64 [variants * images], with a second axis for a tuple.
    """
    predict = predictor(model, precision)
    variants = task.variants if variant is None else (variant,)

    def restored(x):
        return predict(x[None])[0] if x.ndim == 3 else predict(x[None, ..., None])[0, ..., 0]

    return np.array([metric(*task.comparable(restored(x), y, v)) for v in variants for x, y in task.pairs(images, v)])


def versions():
    """{library: version} of what computes here."""
    return {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "numpy": np.__version__}
