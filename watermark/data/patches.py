"""Patches and degradations: batch i is a pure function of (seed, i).

Images here are float32 [H, W, 1] on [0, 1] or uint8 [H, W]; what folder or download they come from is
`watermark.data.sets`' business.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf
from PIL import Image

SCALES = (1.0, 0.9, 0.8, 0.7)  # DnCNN's augmentation by size


def luminance(image):
    """BT.601 luminance, float32 [H, W] on [16, 235]/255 for RGB; a grey image keeps its full range.

    MATLAB's `rgb2ycbcr`, which every super-resolution paper measures on.
    """
    image = np.asarray(image, np.float32) / 255.0
    if image.ndim == 2:
        return image
    return (image @ np.float32([65.481, 128.553, 24.966]) + np.float32(16.0)) / np.float32(255.0)


def grey(image):
    """uint8 [H, W] from uint8 grey or RGB, by PIL's full-range luma."""
    return np.asarray(Image.fromarray(image).convert("L"))


def bicubic(image, size):
    """Resizes float32 [H, W] to `size` = (height, width): MATLAB's `imresize` (bicubic, antialiased when shrinking)."""
    image = tf.constant(image, tf.float32)[..., None]
    return tf.image.resize(image, size, "bicubic", antialias=True).numpy()[..., 0]


def low_and_high(image, scale):
    """The super-resolution pair of an HR image [H, W] on [0, 1]: (input at HR size, target), both [H', W'].

    The image is cropped to a multiple of `scale`, shrunk, and brought back to size: VDSR's input.
    """
    height, width = (side - side % scale for side in image.shape)
    high = image[:height, :width]
    low = bicubic(high, (height // scale, width // scale))
    return bicubic(low, (height, width)), high


def noisy(image, sigma, seed):
    """`image` plus Gaussian noise of standard deviation `sigma`/255, not clipped; the same noise for the same seed."""
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return image + np.float32(sigma / 255.0) * noise


@dataclass(frozen=True)
class Patches:
    """Pixels of many images in flat vectors, so that a batch of random patches is one gather.

    Attributes:
      planes: one flat vector per image plane (target first), all of the same geometry.
      starts, heights, widths: int64 [N], where each image begins and its size.
      size: side of a patch in pixels.
    """

    planes: tuple
    starts: tf.Tensor
    heights: tf.Tensor
    widths: tf.Tensor
    size: int

    @classmethod
    def of(cls, images, size):
        """From a list of tuples of equally sized planes [H, W]; images smaller than a patch are refused."""
        small = [planes[0].shape for planes in images if min(planes[0].shape) < size]
        if small or not images:
            raise ValueError(f"expected images of at least {size}x{size} pixels, got {small or 'none at all'}")
        heights, widths = np.array([planes[0].shape for planes in images], np.int64).T
        starts = np.cumsum(heights * widths) - heights * widths
        flat = [np.concatenate([plane.ravel() for plane in planes]) for planes in zip(*images, strict=True)]
        with tf.device("CPU"):
            vectors = [tf.constant(v) for v in (starts, heights, widths)]
            return cls(tuple(tf.constant(v) for v in flat), *vectors, size)

    def draw(self, count, seed):
        """`count` random patches of every plane, flipped and rotated: list of [count, size, size, 1]."""
        u = tf.random.stateless_uniform([5, count], seed, dtype=tf.float64)
        room = tf.cast((self.heights - self.size + 1) * (self.widths - self.size + 1), tf.float64)
        cumulative = tf.cumsum(room)  # an image is drawn as often as it has positions
        image = tf.searchsorted(cumulative, u[0] * cumulative[-1], side="right")
        start, height, width = (tf.gather(v, image) for v in (self.starts, self.heights, self.widths))
        top = tf.cast(u[1] * tf.cast(height - self.size + 1, tf.float64), tf.int64)
        left = tf.cast(u[2] * tf.cast(width - self.size + 1, tf.float64), tf.int64)
        rows, columns = self._grid(tf.cast(u[3] * 4.0, tf.int64), u[4] < 0.5)
        index = start[:, None, None] + (top[:, None, None] + rows) * width[:, None, None]
        index += left[:, None, None] + columns
        return [tf.gather(plane, index)[..., None] for plane in self.planes]

    def _grid(self, turns, flip):
        """Row and column offsets [B, size, size] of patches turned by `turns` quarters, then mirrored."""
        last = self.size - 1
        rows, columns = tf.meshgrid(*[tf.range(self.size, dtype=tf.int64)] * 2, indexing="ij")
        quarter = tf.stack([rows, columns, last - rows, last - columns])
        r = tf.gather(quarter, turns)
        c = tf.gather(quarter, (turns + 1) % 4)
        return r, tf.where(flip[:, None, None], last - c, c)


def _batches(make, start):
    dataset = tf.data.Dataset.range(start, tf.int64.max)
    return dataset.map(make, num_parallel_calls=2, deterministic=True).prefetch(4)


def denoising_batches(images, *, seed, batch_size, size, sigma):
    """Training batches for denoising.

    Args:
      images: uint8 [H, W] images; each is used at the four `SCALES` where a patch still fits.
      seed: integer; batch i depends on (seed, i) alone.
      size: side of a patch in pixels.
      sigma: noise level in 8-bit units; fresh for every batch, noisy inputs are not clipped.

    Returns:
      A function of the first step's number that gives an endless `tf.data.Dataset` of
      (inputs, targets), float32 [batch_size, size, size, 1], targets on [0, 1].
    """
    resized = [image.resize((round(image.width * s), round(image.height * s)), Image.Resampling.BICUBIC)
               for image in map(Image.fromarray, images) for s in SCALES]
    planes = [(np.asarray(image),) for image in resized if min(image.size) >= size]
    patches = Patches.of(planes, size)

    def make(i):
        (clean,) = patches.draw(batch_size, tf.stack([seed, 2 * i]))
        clean = tf.cast(clean, tf.float32) / 255.0
        noise = tf.random.stateless_normal(clean.shape, tf.stack([seed, 2 * i + 1]))
        return clean + sigma / 255.0 * noise, clean

    return partial(_batches, make)


def sr_batches(images, *, seed, batch_size, size, scales):
    """Training batches for super-resolution: luminance, `scales` mixed; as `denoising_batches` otherwise.

    Inputs are the low-resolution images brought back to size, which is what VDSR takes.
    """
    pairs = [low_and_high(luminance(image), scale) for image in images for scale in scales]
    # Half precision halves 700 MB; its error on [0, 1] is a sixteenth of an 8-bit step at most.
    planes = [(high.astype(np.float16), low.astype(np.float16)) for low, high in pairs if min(high.shape) >= size]
    patches = Patches.of(planes, size)

    def make(i):
        high, low = (tf.cast(plane, tf.float32) for plane in patches.draw(batch_size, tf.stack([seed, i])))
        return low, high

    return partial(_batches, make)
