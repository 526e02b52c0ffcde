"""Images in the memory of the device, and batches of patches drawn from them there."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from watermark.errors import WatermarkError

SIZES = (1.0, 0.9, 0.8, 0.7)  # DnCNN's augmentation by size, as watermark.data has it
# As in `watermark.data.sets`, which takes TensorFlow: sets of several folders, and of every second image of one.
UNIONS = {"291": ("t91", "bsd200")}
HALVES = {"kth_tips_train": ("kth_tips_grey", 0), "kth_tips_test": ("kth_tips_grey", 1)}
LISTED = Path(__file__).parents[1] / "data" / "sets.json"  # read here: `watermark.data` takes TensorFlow
SIGMA = 25.0  # of the noise, in 8-bit units
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class DataError(WatermarkError, ValueError):
    """A set of images that is not there."""


def read_set(data_dir: str | Path, name: str) -> list[np.ndarray]:
    """The images of a set, uint8 [H, W] or [H, W, 3], in the order of their paths within `data_dir/name`.

    Of a set that the project knows and that is there in part, a note goes to stderr.
    """
    if name in UNIONS:
        return [image for part in UNIONS[name] for image in read_set(data_dir, part)]
    if name in HALVES:
        whole, first = HALVES[name]
        return read_set(data_dir, whole)[first::2]
    folder = Path(data_dir) / name
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*")
                   if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))  # such as macOS's ._a.png
    if not files:
        raise DataError(f"expected the images of {name} in {folder}, found none; pass --data_dir=DIR with DIR/{name}/")
    listed = json.loads(LISTED.read_text()).get(name, {"files": {}})["files"]
    if missing := set(listed) - set(files):
        print(f"note: {folder} lacks {len(missing)} of the {len(listed)} images of {name}", file=sys.stderr)
    return [_read(folder / file) for file in files]


def _read(file):
    with Image.open(file) as image:
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W] by Pillow's luma."""
    return np.asarray(Image.fromarray(image).convert("L"))


def luminance(image: np.ndarray) -> np.ndarray:
    """BT.601 luminance of uint8 RGB, float32 [H, W] on [16, 235]/255 (MATLAB's rgb2ycbcr); grey as it is on [0, 1]."""
    unit = image.astype(np.float32) / 255.0
    return unit if unit.ndim == 2 else (unit @ np.float32([65.481, 128.553, 24.966]) + np.float32(16)) / np.float32(255)


def bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 [H, W] at `size` = (height, width): `watermark.data.bicubic`, which is MATLAB's `imresize`, by Pillow."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def low_and_high(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(input, target), both [H', W']: cropped to a multiple of `scale`, shrunk, and brought back to size."""
    height, width = (side - side % scale for side in image.shape)
    high = image[:height, :width]
    return bicubic(bicubic(high, (height // scale, width // scale)), high.shape), high


class Pool(NamedTuple):
    """Pixels of many images in flat vectors on the device.

    Attributes:
      planes: the target's pixels, and the input's where the input is not made by noise; uint8, or float16.
      starts, heights, widths: int32 [N].
      share: float32 [N], how often an image is drawn: in proportion to its positions.
      weights: float32 [N], of an image's patches in the loss.
    """

    planes: tuple
    starts: jax.Array
    heights: jax.Array
    widths: jax.Array
    share: jax.Array
    weights: jax.Array


def _pool(images, weights, size):
    """From tuples of equally sized planes [H, W] and a weight of each."""
    kept = [(planes, weight) for planes, weight in zip(images, weights, strict=True) if min(planes[0].shape) >= size]
    if not kept:
        raise DataError(f"expected images of at least {size}x{size} pixels, got {len(images)} smaller ones; "
                        f"pass a smaller --patch")
    heights, widths = np.int64([planes[0].shape for planes, _ in kept]).T
    room = (heights - size + 1) * (widths - size + 1)
    flat = (np.concatenate([plane.ravel() for plane in planes]) for planes in zip(*[p for p, _ in kept], strict=True))
    whole = [jnp.asarray(v, jnp.int32) for v in (np.cumsum(heights * widths) - heights * widths, heights, widths)]
    real = [jnp.asarray(v, jnp.float32) for v in (room / room.sum(), [weight for _, weight in kept])]
    return Pool(tuple(map(jnp.asarray, flat)), *whole, *real)


def of_set(data_dir: str | Path, name: str, task: str, size: int, scales: dict[int, float]) -> Pool:
    """Patches of a named set for a task; `scales` are those of super-resolution."""
    images = read_set(data_dir, name)
    return denoising_pool(images, size) if task == "denoise" else sr_pool(images, size, scales)


def denoising_pool(images: list, size: int) -> Pool:
    """Grey images at the four `SIZES`, uint8."""
    images = [Image.fromarray(grey(image)) for image in images]
    planes = [(np.asarray(image.resize((round(image.width * scale), round(image.height * scale)),
                                       Image.Resampling.BICUBIC)),) for image in images for scale in SIZES]
    return _pool(planes, [1.0] * len(planes), size)


def sr_pool(images: list, size: int, scales: dict[int, float]) -> Pool:
    """Luminance and its bicubic input at each scale, float16; `scales` has the weight of each in the loss."""
    # Half precision's error on [0, 1] is a sixteenth of an 8-bit step at most, as in watermark.data.
    found = [(tuple(plane.astype(np.float16) for plane in low_and_high(luminance(image), scale)[::-1]), weight)
             for image in images for scale, weight in scales.items()]
    return _pool([planes for planes, _ in found], [weight for _, weight in found], size)


@partial(jax.jit, static_argnames=("count", "size"))
def draw(pool: Pool, key: jax.Array, count: int, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A batch: (inputs, targets) float32 [count, size, size, 1] and weights [count].

    Random positions, each in one of the 8 flips and turns; noise where the pool has no inputs of its own.
    """
    keys = jax.random.split(key, 6)
    image = jax.random.choice(keys[0], pool.share.shape[0], (count,), p=pool.share)
    width = pool.widths[image]
    top = jax.random.randint(keys[1], (count,), 0, pool.heights[image] - size + 1)
    left = jax.random.randint(keys[2], (count,), 0, width - size + 1)
    rows, columns = _turned(jax.random.randint(keys[3], (count,), 0, 4), jax.random.bernoulli(keys[4], 0.5, (count,)),
                            size)
    index = pool.starts[image][:, None, None] + (top[:, None, None] + rows) * width[:, None, None]
    index += left[:, None, None] + columns
    planes = [_unit(plane[index])[..., None] for plane in pool.planes]
    noisy = planes[0] + SIGMA / 255.0 * jax.random.normal(keys[5], planes[0].shape) if len(planes) == 1 else planes[1]
    return noisy, planes[0], pool.weights[image]


def _unit(pixels):
    return pixels.astype(jnp.float32) / (255.0 if pixels.dtype == jnp.uint8 else 1.0)


def _turned(turns, flip, size):
    """Row and column offsets [B, size, size] of patches turned by `turns` quarters, then mirrored."""
    rows, columns = jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij")
    quarter = jnp.stack([rows, columns, size - 1 - rows, size - 1 - columns])
    columns = quarter[(turns + 1) % 4]
    return quarter[turns], jnp.where(flip[:, None, None], size - 1 - columns, columns)
