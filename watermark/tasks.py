"""What a host is for: its training batches, its test pairs, its loss and its door for outsiders."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from watermark import data


def task_loss(model, inputs, targets, training=True):
    """Eq. (5): half the squared error summed over pixels, averaged over the batch."""
    error = model(inputs, training=training) - targets
    return tf.reduce_sum(tf.square(error)) / (2.0 * tf.cast(tf.shape(inputs)[0], tf.float32))


def task_alone(M, X, Y, step=None):
    """Eq. (5) as `training.fit` takes it: for hosts, fine-tuning, and embedding ahead."""
    task = task_loss(M, X, Y)
    return task, {"task": task}


@dataclass(frozen=True)
class Denoising:
    """Removal of white Gaussian noise of standard deviation `sigma`, in 8-bit units."""

    sigma: float = 25.0
    variants = ("",)

    def batches(self, images, *, seed, batch_size, size):
        """`watermark.data.denoising_batches` of uint8 grey or RGB images."""
        images = [data.grey(image) for image in images]
        return data.denoising_batches(images, seed=seed, batch_size=batch_size, size=size, sigma=self.sigma)

    def pairs(self, images, variant=""):
        """(noisy input, target) float32 [H, W] for each uint8 image; image i gets the same noise everywhere."""
        for i, image in enumerate(images):
            target = data.grey(image).astype(np.float32) / 255.0
            yield data.noisy(target, self.sigma, seed=i), target

    def comparable(self, output, target, variant=""):
        """The pair that quality is measured on: the output clipped and stored in 8 bits, as DnCNN's authors do."""
        return np.round(np.clip(output, 0.0, 1.0) * 255.0) / 255.0, target


@dataclass(frozen=True)
class SuperResolution:
    """Upscaling of luminance by each of `scales`; networks take the bicubic upsampling of the small image."""

    scales: tuple = (2, 3, 4)

    @property
    def variants(self):
        return self.scales

    def batches(self, images, *, seed, batch_size, size):
        """`watermark.data.sr_batches` of uint8 grey or RGB images."""
        return data.sr_batches(images, seed=seed, batch_size=batch_size, size=size, scales=self.scales)

    def pairs(self, images, variant):
        """(upsampled input, target) luminance float32 [H, W] for each uint8 image, at scale `variant`."""
        for image in images:
            yield data.low_and_high(data.luminance(image), variant)

    def comparable(self, output, target, variant):
        """The pair that quality is measured on: clipped, without the outer `variant` pixels, as is usual."""
        inner = np.s_[variant:-variant, variant:-variant]
        return np.clip(output, 0.0, 1.0)[inner], target[inner]


TASKS = {"denoise": Denoising(), "sr": SuperResolution()}
