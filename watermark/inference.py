"""Running networks on images, in float32 unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from watermark import data, limits, metrics
from watermark.compute import Compute
from watermark.errors import chosen
from watermark.kinds import Kind
from watermark.ports import in_batches
from watermark.tasks import Task
from watermark.tracing import forward


def predictor(model: keras.Model, precision: str = "float32") -> Callable[[np.ndarray], np.ndarray]:
    """A function float32 [N, H, W, C] -> float32 [N, H', W', C'] that runs `model` in inference mode.

    A model is traced once (`tracing`), however often this is called; large inputs are fed in pieces.
    """
    compute = Compute(precision)
    run, batch = forward(model, precision), model.input_shape[0]

    def predict(images):
        images = np.asarray(images, np.float32)
        _check_input(model, images)
        most = limits.at_once(run, images.shape[1:3], model.input_shape)
        with compute.active():
            return in_batches(lambda piece: run(tf.constant(piece)).numpy(), images, batch, batch is not None, most)

    predict.forward = run
    return predict


def _check_input(model, images):
    expected = tuple(model.input_shape[1:])
    fits = images.ndim == 4 and all(e in (None, s) for e, s in zip(expected, images.shape[1:], strict=False))
    if not fits:
        sides = ", ".join("any" if side is None else str(side) for side in expected)
        raise ValueError(f"{model.name} takes images [N, {sides}], got {list(images.shape)}")
    if not np.isfinite(images).all():
        raise ValueError("expected finite pixels, got NaN or infinity in the input image")


def single_output(model: keras.Model, name: str | None = None) -> keras.Model:
    """`model` with one of its outputs, weights shared; itself if it has one only.

    Where there are several, `name` is one of `model.output_names`.
    """
    names = getattr(model, "output_names", ["output"])
    name = chosen(names, name, model.name)
    if len(names) == 1:
        return model
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs  # a list of one, Keras would warn of a tensor
    return keras.Model(inputs, model.outputs[names.index(name)], name=model.name)


def upsampled(images: np.ndarray, kind: Kind) -> np.ndarray:
    """Trigger images [N, H, W, C] of a super-resolution key at the size of its verification image (bicubic)."""
    return data.bicubic(images, [side * kind.scale for side in images.shape[1:3]])


def model_input(model: keras.Model, images: np.ndarray, kind: Kind) -> np.ndarray:
    """What a Keras model is fed for trigger images [N, H, W, C].

    The black box of super-resolution is "small image in, large image out". A host that keeps the size, such as VDSR,
    is half of that box: the other half, bicubic upsampling, is done here.
    """
    images = np.asarray(images, np.float32)
    if (channels := model.input_shape[-1]) not in (None, kind.channels):
        way = (f"make a key for this kind of model, channels={channels}" if channels in (1, 3) else
               "keys are of 1 or 3, [N, H, W, C]; put layers around it that bring images there")
        raise ValueError(f"{model.name} takes images of {channels} channels, the key has {kind.channels}; {way}")
    if kind.task != "sr":
        return images
    inside = model.compute_output_shape((1, *images.shape[1:]))
    return upsampled(images, kind) if tuple(inside[1:3]) == images.shape[1:3] else images


def evaluate(model: keras.Model | Callable, task: Task, images: Iterable, variant: str | int | None = None, *,
             metric: Callable = metrics.psnr, precision: str = "float32") -> np.ndarray:
    """Quality of `model` on each image, by default PSNR in dB.

    Args:
      model: a host, plain, marked or attacked, or a callable on batches [N, H, W, C].
      task: one of `watermark.tasks.TASKS.values()`.
      images: [H, W] or [H, W, 3] each, uint8 or floats on [0, 1], or whatever the task's `pairs` takes.
      variant: one of `task.variants` (a scale), or None for all of them.
      metric: (output, target) -> number, such as `metrics.ssim`, or -> tuple of numbers.

    Returns:
      float64 [variants * images], with a second axis for a tuple.
    """
    predict = predictor(model, precision) if isinstance(model, keras.Model) else model
    variants = task.variants if variant is None else (variant,)
    return np.array([metric(*task.comparable(restored(predict, x), y, v))
                     for v in variants for x, y in task.pairs(images, v)])


def restored(predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """What a callable on batches [N, H, W, C] makes of one image, [H, W] or [H, W, C]: an image of that form."""
    return predict(image[None])[0] if image.ndim == 3 else predict(image[None, ..., None])[0, ..., 0]
