"""What training inputs are made by: luminance, bicubic shrinking, noise."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from watermark.data.pictures import checked, unit


def luminance(image: np.ndarray) -> np.ndarray:
    """BT.601 luminance, float32 [H, W] on [16, 235]/255 for RGB; a grey image keeps its full range.

    MATLAB's `rgb2ycbcr`, which every super-resolution paper measures on. A DataError as of `checked`.
    """
    image = unit(checked(image))
    if image.ndim == 2:
        return image
    return (image @ np.float32([65.481, 128.553, 24.966]) + np.float32(16.0)) / np.float32(255.0)


def bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes float32 [H, W], [H, W, C] or [N, H, W, C] to `size` = (height, width), as MATLAB's `imresize`.

    Bicubic, antialiased when shrinking.
    """
    flat = np.ndim(image) == 2
    image = tf.constant(image, tf.float32)
    resized = tf.image.resize(image[..., None] if flat else image, size, "bicubic", antialias=True).numpy()
    return resized[..., 0] if flat else resized


def low_and_high(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The super-resolution pair of an HR image [H, W] or [H, W, C] on [0, 1]: (input, target), both [H', W'].

    The image is cropped to a multiple of `scale`, shrunk, and brought back to size: VDSR's input.
    """
    low, high = small_and_high(image, scale)
    return bicubic(low, high.shape[:2]), high


def small_and_high(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """As `low_and_high`, but the input is left small, [H' / scale, W' / scale]."""
    height, width = (side - side % scale for side in image.shape[:2])
    high = image[:height, :width]
    return bicubic(high, (height // scale, width // scale)), high


def deviation(sigma: float) -> float:
    """The standard deviation on [0, 1] of noise of `sigma` in 8-bit units; a ValueError for one that there is not."""
    if not 0.0 <= sigma < float("inf"):
        raise ValueError(f"expected the noise's standard deviation in 8-bit units, 0 or more, got sigma={sigma}")
    return sigma / 255.0


def noisy(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """`image` plus Gaussian noise of standard deviation `sigma`/255, not clipped; the same noise for the same seed."""
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return image + np.float32(deviation(sigma)) * noise
