"""What a host is for: its training batches, its test pairs, its loss, and how its quality is measured."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from watermark import data
from watermark.losses import half_squared_error
from watermark.training import Batches


def task_loss(model: Callable, inputs: tf.Tensor, targets: tf.Tensor, training: bool = True) -> tf.Tensor:
    """Eq. (5) of what a model answers to inputs [B, h, w, C]; targets are [B, H, W, C]."""
    outputs = tf.cast(model(inputs, training=training), tf.float32)  # a half-precision sum would overflow
    return half_squared_error(outputs, targets)


def task_alone(M: Callable, X: tf.Tensor, Y: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Eq. (5) as `training.fit` takes it: for hosts, fine-tuning, and embedding ahead."""
    task = task_loss(M, X, Y)
    return task, {"task": task}


@dataclass(frozen=True)
class Denoising:
    """Removal of white Gaussian noise of standard deviation `sigma`, in 8-bit units; 1 or 3 `channels`."""

    sigma: float = 25.0
    channels: int = 1
    variants = ("",)

    def __post_init__(self):
        data.deviation(self.sigma)  # or a ValueError

    def batches(self, images: Iterable, *, seed: int, batch_size: int, size: int | tuple[int, int]) -> Batches:
        """`watermark.data.denoising_batches` of grey or RGB images."""
        images = [_pixels(image, self.channels) for image in images]
        return data.denoising_batches(images, seed=seed, batch_size=batch_size, size=size, sigma=self.sigma)

    def pairs(self, images: Iterable, variant: str = "") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(noisy input, target) float32 [H, W] or [H, W, 3] for each image; image i always gets the same noise."""
        for i, image in enumerate(images):
            target = data.unit(_pixels(image, self.channels))
            yield data.noisy(target, self.sigma, seed=i), target

    def comparable(self, output: np.ndarray, target: np.ndarray, variant: str = "") -> tuple[np.ndarray, np.ndarray]:
        """The pair that quality is measured on: the output clipped and stored in 8 bits, as DnCNN's authors do."""
        return np.round(np.clip(output, 0.0, 1.0) * 255.0) / 255.0, target


def _pixels(image, channels, **how):
    return (data.grey if channels == 1 else data.rgb)(image, **how)


LARGEST_SCALE = 16


@dataclass(frozen=True)
class SuperResolution:
    """Upscaling by each of `scales`, of luminance or, with 3 `channels`, of RGB.

    Networks take the bicubic upsampling of the small image, or with `small` the small image itself.
    """

    scales: tuple = (2, 3, 4)
    channels: int = 1
    small: bool = False

    def __post_init__(self):
        if not self.scales or any(not isinstance(scale, numbers.Integral) or not 2 <= scale <= LARGEST_SCALE
                                  for scale in self.scales):
            raise ValueError(f"scales: expected whole numbers from 2 to {LARGEST_SCALE}, got {self.scales}")

    @property
    def variants(self) -> tuple:
        """What quality is measured at: the scales."""
        return self.scales

    def batches(self, images: Iterable, *, seed: int, batch_size: int, size: int | tuple[int, int]) -> Batches:
        """`watermark.data.sr_batches` of grey or RGB images."""
        if self.small and len(self.scales) > 1:
            raise ValueError(f"a network that takes the small image has one scale, got {self.scales}")
        images = images if self.channels == 1 else [data.rgb(image) for image in images]
        return data.sr_batches(images, seed=seed, batch_size=batch_size, size=size, scales=self.scales,
                               channels=self.channels, small=self.small)

    def pairs(self, images: Iterable, variant: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(input, target) float32 [H, W] or [H, W, 3] for each image, at scale `variant`."""
        make = data.small_and_high if self.small else data.low_and_high
        for image in images:
            yield make(data.luminance(image) if self.channels == 1 else data.unit(data.rgb(image)), variant)

    def comparable(self, output: np.ndarray, target: np.ndarray, variant: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair that quality is measured on: clipped, without the outer `variant` pixels, as is usual."""
        inner = np.s_[variant:-variant, variant:-variant]
        return np.clip(output, 0.0, 1.0)[inner], target[inner]


@dataclass(frozen=True)
class Examples:
    """Any task, given by pairs of images: `images` are tuples (input, target).

    The target may be `scale` times the input's size.
    """

    channels: int = 1
    scale: int = 1
    variants = ("",)

    def batches(self, images: Iterable, *, seed: int, batch_size: int, size: int | tuple[int, int]) -> Batches:
        """`watermark.data.pair_batches` of pairs of images."""
        images = list(images)
        pairs = list(self.pairs(images))
        deep = any(np.asarray(image).dtype != np.uint8 for pair in images for image in pair)
        return data.pair_batches(pairs, seed=seed, batch_size=batch_size, size=size, scale=self.scale, exact=deep)

    def pairs(self, images: Iterable, variant: str = "") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(input, target) float32 for each pair of images; on [0, 1], but for what noise adds to an input."""
        for low, target in images:
            yield (data.unit(_pixels(low, self.channels, beyond=data.NOISE)),
                   data.unit(_pixels(target, self.channels)))

    def comparable(self, output: np.ndarray, target: np.ndarray, variant: str = "") -> tuple[np.ndarray, np.ndarray]:
        """The pair that quality is measured on: the output clipped."""
        return np.clip(output, 0.0, 1.0), target


Task = Denoising | SuperResolution | Examples
TASKS = {"denoise": Denoising(), "sr": SuperResolution()}
