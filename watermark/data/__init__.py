"""Images: named sets, and training batches made from them."""

from watermark.data.patches import (
    bicubic,
    denoising_batches,
    grey,
    holds,
    low_and_high,
    luminance,
    noisy,
    pair_batches,
    rgb,
    small_and_high,
    sr_batches,
)
from watermark.data.sets import DataError, folder_images, images, names, read_image

__all__ = ["DataError", "bicubic", "denoising_batches", "folder_images", "grey", "holds", "images", "low_and_high",
           "luminance", "names", "noisy", "pair_batches", "read_image", "rgb", "small_and_high", "sr_batches"]
