"""Images: named sets, and training batches made from them."""

from watermark.data.patches import bicubic, denoising_batches, grey, low_and_high, luminance, noisy, sr_batches
from watermark.data.sets import DataError, images, names

__all__ = ["DataError", "bicubic", "denoising_batches", "grey", "images", "low_and_high", "luminance", "names", "noisy",
           "sr_batches"]
