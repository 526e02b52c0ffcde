"""Images: named sets, folders of the user's, and training batches made from them."""

from watermark.data.degradations import bicubic, deviation, low_and_high, luminance, noisy, small_and_high
from watermark.data.folders import FEW, folder_images, folder_pairs
from watermark.data.patches import denoising_batches, pair_batches, sr_batches
from watermark.data.pictures import (
    NOISE,
    DataError,
    checked,
    eight_bits,
    grey,
    read_image,
    rgb,
    unit,
    with_channel,
)
from watermark.data.sets import PAIRED, AbsentError, images, names

__all__ = ["FEW", "NOISE", "PAIRED", "AbsentError", "DataError", "bicubic", "checked", "denoising_batches", "deviation",
           "eight_bits", "folder_images", "folder_pairs", "grey", "images", "low_and_high", "luminance", "names",
           "noisy", "pair_batches", "read_image", "rgb", "small_and_high", "sr_batches", "unit",
           "with_channel"]
