"""Images that come back from others: looked at before they are decoded, against what was asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from watermark.data.pictures import TIFF_HEADS, check_codec, read_answer, with_channel

SCALE = 8  # the most that a key's kind enlarges by
MARGIN = 64  # pixels; some networks pad
CHANNELS = 4
FORMATS = ("PNG", "BMP", "JPEG", "WEBP")  # and TIFF; others can start programs (EPS), or hold more than they say


def check_size(shape: Sequence[int], asked: Sequence[int]) -> None:
    """Refuses, with a ValueError, sides [H', W', ...] that cannot answer an image `asked` [H, W, C]."""
    most = [SCALE * side + MARGIN for side in asked[:2]] + [CHANNELS]
    if not 2 <= len(shape) <= 3 or any(not 0 < side <= limit for side, limit in zip(shape, most, strict=False)):
        raise ValueError(f"an image of {'x'.join(map(str, shape))} pixels to a question of "
                         f"{'x'.join(map(str, asked[:2]))}; at most {most[0]}x{most[1]} were expected")


def pixels_at_most(asked: Sequence[int]) -> int:
    """Pixels that the answers to images [N, H, W, C] have in all."""
    count, height, width, _ = asked
    return count * (SCALE * height + MARGIN) * (SCALE * width + MARGIN)


def number_type(dtype: np.dtype) -> None:
    """Refuses, with a ValueError, arrays that do not hold real numbers."""
    if dtype.kind not in "fiub":
        raise ValueError(f"an array of {dtype}, expected real numbers")


def picture(content: bytes, asked: Sequence[int]) -> np.ndarray:
    """float32 [H', W', C] on [0, 1] from the bytes of an image file that answers an image `asked` [H, W, C]."""
    if content[:4] in TIFF_HEADS:  # Pillow does not know every depth
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages.first
            check_codec(page)
            check_size((page.imagedepth * page.imagelength, page.imagewidth, page.samplesperpixel), asked)
            if page.is_tiled:  # decoders allocate by the tile, whatever the image's size
                check_size((page.tiledepth * page.tilelength, page.tilewidth), asked)
    else:
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:  # reads the header only
                check_size(image.size[::-1], asked)
        except UnidentifiedImageError as error:
            raise ValueError(f"no {', '.join(FORMATS)} or TIFF, or a damaged one") from error
    return read_answer(io.BytesIO(content))


def array(path: str | Path, asked: Sequence[int]) -> np.ndarray:
    """float32 [H', W', C] from an `.npy` file that answers an image `asked` [H, W, C]."""
    found = np.load(path, allow_pickle=False, mmap_mode="r")  # nothing is read before its size is known
    if not isinstance(found, np.ndarray):
        raise ValueError("an archive, expected one array")
    number_type(found.dtype)
    check_size(found.shape, asked)
    return with_channel(np.float32(found))
