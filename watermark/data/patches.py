"""Patches: batch i is a pure function of (seed, i).

Images here are as `watermark.data.pictures` reads them, uint8 or float32 on [0, 1]; what folder or download they come
from is the business of `watermark.data.folders` and `watermark.data.sets`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import tensorflow as tf
from cachetools import LRUCache, cached
from PIL import Image

from watermark.data.degradations import deviation, low_and_high, luminance, small_and_high
from watermark.data.pictures import NOISE, DataError, checked, unit

SCALES = (1.0, 0.9, 0.8, 0.7)  # DnCNN's augmentation by size
LEAST = 8  # side of a patch, as the command line takes it
KEPT = 2 << 30  # bytes of patches that are kept for the next training on the same images
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patches:
    """Pixels of many images in flat vectors, so that a batch of random patches is one gather.

    Attributes:
      planes: one flat vector per image plane (target first), all of the same geometry.
      starts, heights, widths: int64 [N], where each image begins and its size.
      size: side of a patch in pixels, or (height, width).
    """

    planes: tuple
    starts: tf.Tensor
    heights: tf.Tensor
    widths: tf.Tensor
    size: int | tuple

    @classmethod
    def of(cls, images: list[tuple], size: int | tuple[int, int]) -> Patches:
        """From a list of tuples of equally sized planes [H, W]; images smaller than a patch are refused."""
        if not images or not all(holds(planes[0].shape, size) for planes in images):
            raise _too_small([planes[0] for planes in images], size, np.shape)
        heights, widths = np.array([planes[0].shape for planes in images], np.int64).T
        starts = np.cumsum(heights * widths) - heights * widths
        with tf.device("CPU"):
            vectors = [tf.constant(v) for v in (starts, heights, widths)]
            flat = tuple(tf.constant(np.concatenate([plane.ravel() for plane in planes]))
                         for planes in zip(*images, strict=True))
            return cls(flat, *vectors, size)

    @property
    def nbytes(self) -> int:
        """Bytes that the pixels take."""
        return sum(plane.dtype.size * plane.shape[0] for plane in self.planes)

    def draw(self, count: int, seed: tf.Tensor | Sequence[int], augment: bool = True) -> tf.Tensor:
        """`count` random patches of every plane, flipped and rotated alike: [count, height, width, planes].

        Those that are not square are turned by half turns only.
        """
        tall, wide = sides(self.size)
        u = tf.random.stateless_uniform([5, count], seed, dtype=tf.float64, alg="philox")
        room = tf.cast((self.heights - tall + 1) * (self.widths - wide + 1), tf.float64)
        cumulative = tf.cumsum(room)  # an image is drawn as often as it has positions
        image = tf.searchsorted(cumulative, u[0] * cumulative[-1], side="right")
        start, height, width = (tf.gather(v, image) for v in (self.starts, self.heights, self.widths))
        top = tf.cast(u[1] * tf.cast(height - tall + 1, tf.float64), tf.int64)
        left = tf.cast(u[2] * tf.cast(width - wide + 1, tf.float64), tf.int64)
        turns, flip = tf.cast(u[3] * 4.0, tf.int64) if tall == wide else 2 * tf.cast(u[3] * 2.0, tf.int64), u[4] < 0.5
        rows, columns = self._grid(turns * int(augment), flip & augment)
        index = start[:, None, None] + (top[:, None, None] + rows) * width[:, None, None]
        index += left[:, None, None] + columns
        return tf.stack([tf.gather(plane, index) for plane in self.planes], axis=-1)

    def _grid(self, turns, flip):
        """Row and column offsets [B, height, width] of patches turned by `turns` quarters, then mirrored."""
        tall, wide = sides(self.size)
        rows, columns = tf.meshgrid(*(tf.range(side, dtype=tf.int64) for side in (tall, wide)), indexing="ij")
        quarter = tf.stack([rows, columns, tall - 1 - rows, wide - 1 - columns])
        r = tf.gather(quarter, turns)
        c = tf.gather(quarter, (turns + 1) % 4)
        return r, tf.where(flip[:, None, None], wide - 1 - c, c)


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a patch whose size is a side, or both."""
    return size if isinstance(size, tuple) else (size, size)


def holds(shape: Sequence[int], size: int | tuple[int, int]) -> bool:
    """Whether an image of a shape holds a patch of a size."""
    return all(have >= side for have, side in zip(shape, sides(size), strict=False))


def _batches(make, start):
    dataset = tf.data.Dataset.range(start, tf.int64.max)
    return dataset.map(make, num_parallel_calls=2, deterministic=True).prefetch(4)


def _pixels_of(build, images, *options):
    """What `_patches` knows a set by: what is done with it, and a digest of every pixel."""
    digest = hashlib.blake2b(digest_size=16)
    for image in images:
        for part in image if isinstance(image, tuple) else (image,):
            digest.update(f"{part.dtype.str} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part))
    return build, digest.digest(), options


@cached(LRUCache(KEPT, getsizeof=lambda patches: patches.nbytes), key=_pixels_of, lock=Lock())
def _patches(build, images, *options):
    """`build(images, *options)`, kept: several marks on one machine train on the same patches."""
    return build(images, *options)


def denoising_batches(images: Iterable[np.ndarray], *, seed: int, batch_size: int, size: int | tuple[int, int],
                      sigma: float) -> Callable[[int], tf.data.Dataset]:
    """Training batches for denoising.

    Args:
      images: [H, W] or [H, W, C] images, uint8 or float32 on [0, 1]; each is used at the four `SCALES` where a patch
        still fits, and smaller ones than a patch are left out.
      seed: integer; batch i depends on (seed, i) alone.
      size: side of a patch in pixels, or (height, width).
      sigma: noise level in 8-bit units; fresh for every batch, noisy inputs are not clipped.

    Returns:
      A function of the first step's number that gives an endless `tf.data.Dataset` of
      (inputs, targets), float32 [batch_size, size, size, C], targets on [0, 1].

    Raises:
      DataError: for other pixels, which would be cut to that range.
    """
    images = [checked(image, None) for image in images]
    patches = _patches(_at_scales, _fitting(images, size), size)
    white, level = float(patches.planes[0].dtype.max), deviation(sigma)

    def make(i):
        clean = tf.cast(patches.draw(batch_size, tf.stack([seed, 2 * i])), tf.float32) / white
        noise = tf.random.stateless_normal(clean.shape, tf.stack([seed, 2 * i + 1]), alg="philox")
        return clean + level * noise, clean

    return partial(_batches, make)


def _at_scales(images, size):
    """Patches of the images at the `SCALES`: uint8, or uint16 where an image is deeper."""
    resized = [_resized(image, scale) for image in images for scale in SCALES]
    if any(image.dtype != np.uint8 for image in resized):
        resized = [np.uint16(np.round(unit(image) * np.float32(65535))) for image in resized]
    return Patches.of([_planes(image) for image in resized if holds(image.shape, size)], size)


def _resized(image, scale):
    """An image made smaller by Pillow, at its own depth."""
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in _planes(image)]
    return np.clip(np.stack(planes, -1).reshape(*size[::-1], *image.shape[2:]), 0.0, 1.0)


def sr_batches(images: Iterable[np.ndarray], *, seed: int, batch_size: int, size: int | tuple[int, int],
               scales: Sequence[int], channels: int = 1, small: bool = False) -> Callable[[int], tf.data.Dataset]:
    """Training batches for super-resolution: `scales` mixed; as `denoising_batches` otherwise.

    Inputs are the low-resolution images brought back to size, which is what VDSR takes, or with `small` left small;
    of 1 channel, luminance, or of as many as the images have.
    """
    images = [checked(image) for image in images]

    def shape(image):
        return max((tuple((side - side % scale) // (scale if small else 1) for side in image.shape[:2])
                    for scale in scales), key=min)

    patches = _patches(_low_and_high_patches, _fitting(images, size, shape), size, tuple(scales), channels, small)
    return _pair_batches(patches, seed, batch_size, channels, scales[0] if small else 1)


def _low_and_high_patches(images, size, scales, channels, small):
    make = small_and_high if small else low_and_high
    prepare = luminance if channels == 1 else unit
    pairs = [make(prepare(image), scale) for image in images for scale in scales]
    dtype = np.float16 if all(image.dtype == np.uint8 for image in images) else np.float32
    return _of_pairs([pair for pair in pairs if holds(pair[0].shape, size)], size, scales[0] if small else 1, dtype)


def pair_batches(pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, seed: int, batch_size: int,
                 size: int | tuple[int, int], scale: int = 1,
                 exact: bool = False) -> Callable[[int], tf.data.Dataset]:
    """Training batches of a task that is given by example.

    Args:
      pairs: of (input [H, W] or [H, W, C], target [scale * H, scale * W] or with channels), float on [0, 1].
      seed, batch_size: as for `denoising_batches`.
      size: side of an input patch in pixels, or (height, width).
      scale: how many times the input the target is. Above 1, patches are not flipped or turned.
      exact: keep what is finer than a sixteenth of an 8-bit step, at twice the memory.

    Returns:
      As `denoising_batches`: (inputs [batch_size, size, size, C], targets).

    Raises:
      DataError: for other pixels, and for a target of another size.
    """
    pairs = [_aligned(checked(low, None, NOISE), checked(target, None), scale) for low, target in pairs]
    pairs = _fitting(pairs, size, lambda pair: pair[0].shape)
    patches = _patches(_of_pairs, pairs, size, scale, np.float32 if exact else np.float16)
    return _pair_batches(patches, seed, batch_size, len(_planes(pairs[0][0])), scale)


def _aligned(low, target, scale):
    """The pair, if the target is `scale` times as large; patches would come from different places otherwise."""
    if target.shape[:2] != tuple(scale * side for side in low.shape[:2]):
        raise DataError(f"expected a target of {scale} times the input's {list(low.shape[:2])} pixels, got "
                        f"{list(target.shape[:2])}; cut both to what belongs together, or give the scale")
    return low, target


def _of_pairs(pairs, size, scale, dtype):
    # Half precision halves 700 MB; its error on [0, 1] is a sixteenth of an 8-bit step at most.
    planes = [(*_planes(_subpixels(target, scale)), *_planes(low)) for low, target in pairs]
    return Patches.of([[plane.astype(dtype) for plane in image] for image in planes], size)


def _pair_batches(patches, seed, batch_size, channels, scale):
    def make(i):
        drawn = tf.cast(patches.draw(batch_size, tf.stack([seed, i]), augment=scale == 1), tf.float32)
        target, low = drawn[..., :-channels], drawn[..., -channels:]
        return low, tf.nn.depth_to_space(target, scale) if scale > 1 else target

    return partial(_batches, make)


def _fitting(images, size, shape=np.shape):
    """The images (or pairs) whose `shape` holds a patch; how many are left out is logged."""
    fitting = [image for image in images if holds(shape(image), size)]
    if not fitting:
        raise _too_small(images, size, shape)
    if len(fitting) < len(images):
        log.info("%d of %d images are smaller than a patch of %dx%d pixels and left out", len(images) - len(fitting),
                 len(images), *sides(size))
    return fitting


def _too_small(images, size, shape):
    """The error of images without room for a patch."""
    expected = "expected images of at least {}x{} pixels".format(*sides(size))
    if not images:
        return ValueError(f"{expected}, got none at all")
    largest = max(images, key=lambda image: min(shape(image)[:2]))
    height, width = (largest[0] if isinstance(largest, tuple) else largest).shape[:2]
    side = min(inside := shape(largest)[:2])
    taken = "" if side == min(height, width) else " ({}x{} to the network)".format(*inside)
    fits = f"--patch={side} fits it" if side >= LEAST else f"no patch of {LEAST} or more fits it"
    return ValueError(f"{expected} for a patch of that size, got {len(images)} of which the largest has "
                      f"{height}x{width}{taken}; {fits}")


def _planes(image):
    """The channels of [H, W] or [H, W, C], each [H, W]."""
    return (image,) if image.ndim == 2 else tuple(np.moveaxis(image, -1, 0))


def _subpixels(image, scale):
    """[scale * H, scale * W, C] as [H, W, scale * scale * C], in the order that `tf.nn.depth_to_space` undoes."""
    if scale == 1:
        return image
    image = image if image.ndim == 3 else image[..., None]
    height, width, channels = image.shape
    blocks = image.reshape(height // scale, scale, width // scale, scale, channels)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(height // scale, width // scale, -1)
