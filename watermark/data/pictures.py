"""One image file to pixels, at the depth that the file has. What cannot be read exactly is refused, never cut.

An image of 8 bits is uint8, any deeper one float32 on [0, 1]; both are [H, W] or [H, W, 3]. Files of 8 bits are read by
Pillow; it cuts deeper ones to 8 bits, so those are read by tifffile and imagecodecs.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import ArrayLike
from PIL import Image, ImageOps, UnidentifiedImageError

from watermark.errors import WatermarkError

# Pillow opens many more, some with the help of other programs (EPS), some at a depth that it does not tell.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # modes of Pillow, all of 8 bits
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1")
ROUNDING = 1e-6  # that float pixels may leave [0, 1] by: less than half a step of 16 bits
NOISE = 1.0  # that those of inputs may, whose noise was not cut
DNG_VERSION = 50706
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CODECS = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS")  # of TIFF; what others unpack to, they say themselves
UPRIGHT = {  # EXIF's orientations 2 to 8
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it says of damaged files is in the error


class DataError(WatermarkError, RuntimeError):
    """An image set that cannot be had, or a file of it that is not what it should be."""


class Picture(NamedTuple):
    """What a file holds: its pixels, and whether some of them are transparent, which is left out of the pixels."""

    pixels: np.ndarray
    transparent: bool


def read_image(file: str | Path | BinaryIO) -> np.ndarray:
    """The pixels of an image file, a path or an open one: its first page, turned upright, without transparency.

    Returns:
      uint8 [H, W] or [H, W, 3], or float32 on [0, 1] if the file has more than 8 bits a channel.

    Raises:
      DataError: the file is damaged, no image, or of a kind that cannot be read exactly.
    """
    return read_picture(file).pixels


def read_answer(file: str | Path | BinaryIO) -> np.ndarray:
    """float32 [H, W, C] from a suspect's answer; [0, 1] is the file's range, which float files may leave."""
    return with_channel(unit(read_picture(file, bounded=False).pixels))


def checked(image: ArrayLike, channels: tuple | None = (1, 3), beyond: float = ROUNDING) -> np.ndarray:
    """An image of the caller's as this program takes it, a single channel without its axis.

    Args:
      image: uint8, or finite floats on [0, 1]; [H, W] or [H, W, C].
      channels: the choices for C; None for any.
      beyond: what floats may leave [0, 1] by, for images with noise that was not cut.

    Returns:
      uint8 or float32 [H, W] or [H, W, C].

    Raises:
      DataError: for any other array. What lies on another range would be cut, and trained on so.
    """
    image = np.asarray(image)
    expected, found = "expected uint8 pixels, or floats on [0, 1]", f"got an array {image.dtype} {list(image.shape)}"
    if image.ndim not in (2, 3) or not image.size or image.ndim == 3 and channels and image.shape[2] not in channels:
        count = " or ".join(map(str, channels or "C"))
        raise DataError(f"expected an image [H, W] or [H, W, {count}], {found}; give one image, channels last")
    if image.dtype != np.uint8:
        if image.dtype.kind != "f":
            raise DataError(f"{expected}, {found}; bring it to floats with black at 0 and white at 1")
        image = image.astype(np.float32, copy=False)
        low, high = image.min(), image.max()
        if not np.isfinite([low, high]).all():
            raise DataError(f"{expected}, {found} with NaN or infinity; leave that image out")
        if low < -beyond or high > 1.0 + beyond:
            raise DataError(f"{expected}, {found} from {low:.4g} to {high:.4g}; bring black to 0 and white to 1")
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def unit(image: ArrayLike) -> np.ndarray:
    """float32 on [0, 1] from uint8 or from what is on [0, 1] already."""
    image = np.asarray(image)
    return image.astype(np.float32) / 255.0 if image.dtype == np.uint8 else image.astype(np.float32)


def eight_bits(image: np.ndarray) -> np.ndarray:
    """uint8 from uint8 or from float on [0, 1], rounded; for what is shown, or stored as such."""
    return image if image.dtype == np.uint8 else np.uint8(np.round(np.clip(image, 0.0, 1.0) * 255.0))


def with_channel(image: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, C] as [H, W, C]."""
    return image[..., None] if image.ndim == 2 else image


def grey(image: ArrayLike, beyond: float = ROUNDING) -> np.ndarray:
    """[H, W] from grey or RGB of either depth, by Pillow's full-range luma; `beyond` and DataError as of `checked`."""
    image = checked(image, beyond=beyond)
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).convert("L"))
    return image if image.ndim == 2 else image @ (np.float32([19595, 38470, 7471]) / np.float32(65536))


def rgb(image: ArrayLike, beyond: float = ROUNDING) -> np.ndarray:
    """[H, W, 3] from grey or RGB of either depth; `beyond` and DataError as of `checked`."""
    image = checked(image, beyond=beyond)
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).convert("RGB"))
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def read_picture(file: str | Path | BinaryIO, bounded: bool = True) -> Picture:
    """As `read_image`, with what else is to be said of the file; unless `bounded`, float pixels may leave [0, 1]."""
    named = isinstance(file, str | Path)
    try:
        if named and Path(file).exists() and not Path(file).is_file():
            raise ValueError("not a regular file")  # opening a FIFO would wait for ever
        with warnings.catch_warnings(), open(file, "rb") if named else contextlib.nullcontext(file) as stream:
            warnings.simplefilter("ignore")  # of Pillow, about large images and damaged tags
            head = stream.read(16)
            stream.seek(0)
            pixels, transparent = _tiff(stream, head) if head[:4] in TIFF_HEADS else _common(stream, head)
        if bounded and pixels.dtype != np.uint8 and not (pixels.min() >= 0.0 and pixels.max() <= 1.0):
            raise ValueError(f"its pixels are floats from {pixels.min():.4g} to {pixels.max():.4g}, expected [0, 1]")
        return Picture(pixels, transparent)
    except Exception as error:  # a damaged file makes the readers raise anything
        raise DataError(f"{file if named else 'the content'} cannot be read as an image: {error}") from error


def _common(stream, head):
    """(pixels, transparent) of a file that is no TIFF."""
    if not head:
        raise ValueError("it is empty")
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        what = "HEIC is not read" if head[4:12] in HEIC else "it is no image of a known kind"
        raise ValueError(f"{what}; save it as PNG, TIFF or JPEG") from error
    with image:
        if image.format in DEEP:
            position = stream.tell()
            stream.seek(0)
            content = stream.read()
            stream.seek(position)
            values, greatest = DEEP[image.format](image, content)
            if greatest != 255:
                return _scaled(values, greatest, image.getexif().get(0x112))
        return _eight_bits(image)


def _eight_bits(image):
    """(uint8 pixels, transparent) of an opened image; only a mode that Pillow brings to 8 bits without loss."""
    if image.mode == "F":  # a portable float map
        return np.array(image), False
    if image.mode not in GREY + COLOUR:
        raise ValueError(f"its pixels are of Pillow's mode {image.mode}, without a range to scale by; save it as PNG "
                         "or TIFF of 8 or 16 bits")
    image.load()
    image = ImageOps.exif_transpose(image)
    clear = image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255
    return np.asarray(image.convert("L" if image.mode in GREY else "RGB")), clear


def _scaled(values, greatest, orientation):
    """(float32 pixels, transparent) of values [H, W] or [H, W, 1 to 4] whose white is `greatest`."""
    values = with_channel(values)
    count = values.shape[-1]
    if values.ndim != 3 or not 1 <= count <= 4:
        raise ValueError(f"it holds an array of shape {list(values.shape)}, expected 1 or 3 channels")
    pixels = values[..., :count - (count + 1) % 2].astype(np.float32) / np.float32(greatest)
    pixels = UPRIGHT.get(orientation, lambda a: a)(pixels[..., 0] if count < 3 else pixels)
    return np.ascontiguousarray(pixels), count % 2 == 0 and bool(values[..., -1].min() < greatest)


def check_codec(page: tifffile.TiffPage) -> None:
    """Refuses, with a ValueError, a page of a TIFF whose codec does not keep to the size that the page declares."""
    codec = getattr(page.compression, "name", str(page.compression))
    if codec not in CODECS:
        raise ValueError(f"it is compressed by {codec[:40]}, expected {', '.join(CODECS)}; save it so, or as PNG")


def _tiff(stream, head):
    """(pixels, transparent) of a TIFF's first page."""
    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages.first
        if page.is_reduced or DNG_VERSION in page.tags or head[8:10] == b"CR":
            raise ValueError("it is a camera's raw file or starts with a preview; develop it to PNG or TIFF")
        kind, bits = page.dtype.kind if page.dtype else None, page.bitspersample
        if kind in ("u", "b") and isinstance(bits, int) and bits <= 8:
            stream.seek(0)
            with Image.open(stream, formats=["TIFF"]) as image:
                return _eight_bits(image)
        check_codec(page)
        if page.photometric not in (0, 1, 2) or not (kind == "f" or kind == "u" and bits <= 16):
            raise ValueError(f"it has {bits} bits of {page.dtype} as {getattr(page.photometric, 'name', 'pixels')}, "
                             "expected grey or RGB of up to 16 bits, or float on [0, 1]")
        if page.size > 2 * Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"it has {page.size} values, more than {2 * Image.MAX_IMAGE_PIXELS}")
        values, greatest = page.asarray(), 1 if kind == "f" else 2**bits - 1
        if page.axes[0] == "S":  # one plane after the other
            values = np.moveaxis(values, 0, -1)
        values = greatest - values if page.photometric == 0 else values  # white is zero
        orientation = page.tags.get(0x112)
        return _scaled(values, greatest, orientation and orientation.value)


def _png(image, content):
    return (imagecodecs.png_decode(content), 65535) if content[24] == 16 else (None, 255)


def _jpeg2000(image, content):
    size = content.index(b"\xff\x4f\xff\x51")  # the code stream; its size segment tells each channel's depth
    right, bottom, left, top = np.frombuffer(content, ">u4", 4, size + 8).tolist()
    if (right - left, bottom - top) != image.size:
        raise ValueError(f"its code stream has {right - left}x{bottom - top} pixels, its header {image.size}")
    depths = set(content[size + 42:size + 42 + 3 * content[size + 41]:3])
    if depths == {7}:
        return None, 255
    if len(depths) > 1 or max(depths) > 15:
        raise ValueError("its channels have different depths, or signs")
    return imagecodecs.jpeg2k_decode(content), 2 ** (depths.pop() + 1) - 1


def _ppm(image, content):
    codec, _, offset, args = image.tile[0]
    greatest = 65535 if "16" in str(args) else 255
    if codec.startswith("ppm") and isinstance(args[-1], int):
        greatest = args[-1]
    if greatest != 255 and codec == "ppm_plain":
        raise ValueError("it is PNM as text with a white other than 255; save it as PNG or TIFF")
    if greatest == 255:  # bits, too, eight a byte
        return None, 255
    shape = (image.height, image.width, len(image.getbands()))
    values = np.frombuffer(content, ">u2" if greatest > 255 else np.uint8, np.prod(shape), offset)
    return values.reshape(shape), greatest


def _avif(image, content):
    if content[content.index(b"av1C") + 6] & 0x40:
        raise ValueError("it is AVIF of 10 or 12 bits, which is read as 8; save it as PNG or TIFF")
    return None, 255


DEEP = {"PNG": _png, "JPEG2000": _jpeg2000, "PPM": _ppm, "AVIF": _avif}  # -> (values, what is white), or (None, 255)
