"""Running networks on images, in float32 unless told otherwise."""

import keras
import numpy as np
import tensorflow as tf

from watermark import metrics
from watermark.training import Compute

PIXELS = 1 << 18  # per call, which bounds memory at about 200 MB for 64 channels


def predictor(model, precision="float32"):
    """A function float32 [N, H, W, C] -> float32 [N, H', W', C'] that runs `model` in inference mode.

    One trace serves every image size; large inputs are fed in pieces.
    """
    compute = Compute(precision)
    signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
    forward = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature)

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


def door(images, meta):
    """What a host is fed for trigger images [N, H, W, C]: themselves, or for super-resolution their upsampling.

    The black box of a super-resolution host is "small image in, large image out", that is bicubic upsampling
    and the network.
    """
    if meta["task"] != "sr":
        return np.asarray(images, np.float32)
    size = [side * meta["scale"] for side in images.shape[1:3]]
    return tf.image.resize(images, size, "bicubic", antialias=True).numpy()


def as_suspect(suspect, meta):
    """A callable [N, H, W, C] -> [N, H', W', C] for a key's `meta`, from a Keras model or from such a callable."""
    if isinstance(suspect, keras.Model):
        predict = predictor(suspect)
        return lambda images: predict(door(images, meta))
    if callable(suspect):
        return suspect
    raise TypeError(f"expected a Keras model or a callable on image batches, got {type(suspect).__name__}")


def evaluate(model, task, images, variant=None, *, metric=metrics.psnr, precision="float32"):
    """Quality of `model` on each image, by default PSNR in dB.

    Args:
      model: a host, plain, marked or attacked.
      task: one of `watermark.tasks.TASKS.values()`.
      images: uint8 images [H, W] or [H, W, 3].
      variant: one of `task.variants` (a scale), or None for all of them.
      metric: (output, target) -> number, such as `metrics.ssim`, or -> tuple of numbers.

    Returns:
      float64 [variants * images], with a second axis for a tuple.
    """
    predict = predictor(model, precision)
    variants = task.variants if variant is None else (variant,)
    return np.array([metric(*task.comparable(predict(x[None, ..., None])[0, ..., 0], y, v))
                     for v in variants for x, y in task.pairs(images, v)])
