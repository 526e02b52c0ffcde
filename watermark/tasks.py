"""What a host is for: its training batches, its test pairs, its loss and its door for outsiders."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from watermark import data
from watermark.losses import check_shapes


def task_loss(model, inputs, targets, training=True):
    """Eq. (5): half the squared error summed over pixels, averaged over the batch."""
    outputs = tf.cast(model(inputs, training=training), tf.float32)  # a half-precision sum would overflow
    check_shapes(outputs, targets)
    return tf.reduce_sum(tf.square(outputs - targets)) / (2.0 * tf.cast(tf.shape(inputs)[0], tf.float32))


def task_alone(M, X, Y, *_):
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

    def batches(self, images, *, seed, batch_size, size):
        """`watermark.data.denoising_batches` of grey or RGB images."""
        images = [_pixels(image, self.channels) for image in images]
        return data.denoising_batches(images, seed=seed, batch_size=batch_size, size=size, sigma=self.sigma)

    def pairs(self, images, variant=""):
        """(noisy input, target) float32 [H, W] or [H, W, 3] for each image; image i gets the same noise ever."""
        for i, image in enumerate(images):
            target = data.unit(_pixels(image, self.channels))
            yield data.noisy(target, self.sigma, seed=i), target

    def comparable(self, output, target, variant=""):
        """The pair that quality is measured on: the output clipped and stored in 8 bits, as DnCNN's authors do."""
        return np.round(np.clip(output, 0.0, 1.0) * 255.0) / 255.0, target


def _pixels(image, channels, **how):
    return (data.grey if channels == 1 else data.rgb)(image, **how)


@dataclass(frozen=True)
class SuperResolution:
    """Upscaling by each of `scales`, of luminance or, with 3 `channels`, of RGB.

    Networks take the bicubic upsampling of the small image, or with `small` the small image itself.
    """

    scales: tuple = (2, 3, 4)
    channels: int = 1
    small: bool = False

    @property
    def variants(self):
        return self.scales

    def batches(self, images, *, seed, batch_size, size):
        """`watermark.data.sr_batches` of grey or RGB images."""
        if self.small and len(self.scales) > 1:
            raise ValueError(f"a network that takes the small image has one scale, got {self.scales}")
        images = images if self.channels == 1 else [data.rgb(image) for image in images]
        return data.sr_batches(images, seed=seed, batch_size=batch_size, size=size, scales=self.scales,
                               channels=self.channels, small=self.small)

    def pairs(self, images, variant):
        """(input, target) float32 [H, W] or [H, W, 3] for each image, at scale `variant`."""
        make = data.small_and_high if self.small else data.low_and_high
        for image in images:
            yield make(data.luminance(image) if self.channels == 1 else data.unit(data.rgb(image)), variant)

    def comparable(self, output, target, variant):
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

    def batches(self, images, *, seed, batch_size, size):
        """`watermark.data.pair_batches` of pairs of images."""
        pairs = list(self.pairs(images))
        deep = any(np.asarray(image).dtype != np.uint8 for pair in images for image in pair)
        return data.pair_batches(pairs, seed=seed, batch_size=batch_size, size=size, scale=self.scale, exact=deep)

    def pairs(self, images, variant=""):
        """(input, target) float32 for each pair of images; on [0, 1], but for what noise adds to an input."""
        for low, target in images:
            yield (data.unit(_pixels(low, self.channels, beyond=data.NOISE)),
                   data.unit(_pixels(target, self.channels)))

    def comparable(self, output, target, variant=""):
        """The pair that quality is measured on: the output clipped."""
        return np.clip(output, 0.0, 1.0), target


TASKS = {"denoise": Denoising(), "sr": SuperResolution()}
