"""Files of every depth and kind. Oracles: the array that was written, division by the file's own white, Pillow."""

import io
import os
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from watermark import data, tasks
from watermark.suspects import folder
from watermark.suspects.answers import picture
from watermark.visualizer import as_picture

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (6, 9, 4), np.uint16)


def _file(path, values, **options):
    """An image file of `values`, by its suffix."""
    values = np.ascontiguousarray(values)
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(values))
    elif path.suffix in (".jp2", ".avif"):
        encode = imagecodecs.jpeg2k_encode if path.suffix == ".jp2" else imagecodecs.avif_encode
        path.write_bytes(encode(values, level=0, **options))
    else:
        tifffile.imwrite(path, values, **{"photometric": "rgb" if values.ndim > 2 else "minisblack"} | options)
    return path


def _same(image, values, white):
    """Each pixel is its value over the file's white, to the last bit that tells two values apart."""
    np.testing.assert_allclose(image, values / white, rtol=1e-7, atol=0)
    assert image.dtype == np.float32 and np.array_equal(np.round(image.astype(np.float64) * white), values)


@pytest.mark.parametrize("name, options", [
    ("a.png", {}), ("a.tif", {}), ("a.tiff", {"compression": "lzw", "predictor": True}), ("a.tif", {"byteorder": ">"}),
    ("a.tif", {"compression": "zlib"}), ("a.tif", {"bigtiff": True})])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_by_their_own_white(tmp_path, name, options, channels):
    values = DEEP[..., :channels].squeeze()
    _same(data.read_image(_file(tmp_path / name, values, **options)), values, 65535)


def test_other_depths_have_another_white(tmp_path):
    twelve = DEEP[..., 0] >> 4
    packed = _file(tmp_path / "a.tif", twelve, bitspersample=12)
    _same(data.read_image(packed), twelve, 4095)
    _same(data.read_image(_file(tmp_path / "a.jp2", twelve, bitspersample=12)), twelve, 4095)
    _same(data.read_image(_file(tmp_path / "b.jp2", DEEP[..., :3])), DEEP[..., :3], 65535)
    for kind, shape in (("P5", (6, 9)), ("P6", (6, 9, 3))):
        values = RNG.integers(0, 1001, shape, np.uint16)
        (tmp_path / "a.pnm").write_bytes(f"{kind} 9 6 1000\n".encode() + values.astype(">u2").tobytes())
        _same(data.read_image(tmp_path / "a.pnm"), values, 1000)
        (tmp_path / "b.pnm").write_bytes(f"{kind} 9 6 100\n".encode() + (values // 10).astype(np.uint8).tobytes())
        _same(data.read_image(tmp_path / "b.pnm"), values // 10, 100)
        (tmp_path / "c.pnm").write_bytes(f"{kind} 9 6 65535\n".encode() + (values * 65).astype(">u2").tobytes())
        _same(data.read_image(tmp_path / "c.pnm"), values * 65, 65535)


def test_layouts_of_tiff(tmp_path):
    """Planes one after the other, white as zero, and only the first of several pages."""
    planar = _file(tmp_path / "a.tif", np.moveaxis(DEEP[..., :3], -1, 0), photometric="rgb", planarconfig="separate")
    _same(data.read_image(planar), DEEP[..., :3], 65535)
    inverse = _file(tmp_path / "b.tif", DEEP[..., 0], photometric="miniswhite")
    _same(data.read_image(inverse), 65535 - DEEP[..., 0], 65535)
    pages = _file(tmp_path / "c.tif", np.moveaxis(DEEP[..., :2], -1, 0), photometric="minisblack")
    _same(data.read_image(pages), DEEP[..., 0], 65535)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_floats_are_taken_as_they_are(tmp_path, dtype, shape):
    values = RNG.random(shape).astype(dtype)
    read = data.read_image(_file(tmp_path / "a.tif", values))
    assert read.dtype == np.float32 and np.array_equal(read, values.astype(np.float32))


def test_files_of_eight_bits_stay_as_they_are(tmp_path):
    """Pillow is the oracle, which read all of them before deeper files were."""
    colour, grey = np.uint8(DEEP[..., :3] >> 8), np.uint8(DEEP[..., 0] >> 8)
    for i, (image, suffix) in enumerate([
            (Image.fromarray(colour), "png"), (Image.fromarray(grey), "png"), (Image.fromarray(colour), "tif"),
            (Image.fromarray(grey), "tif"), (Image.fromarray(colour), "jpg"), (Image.fromarray(colour), "bmp"),
            (Image.fromarray(colour), "webp"), (Image.fromarray(colour), "ppm"), (Image.fromarray(colour), "jp2"),
            (Image.fromarray(grey), "pgm"), (Image.fromarray(colour), "avif"), (Image.fromarray(colour), "tga"),
            (Image.fromarray(colour).convert("P"), "png"), (Image.fromarray(colour).convert("CMYK"), "jpg"),
            (Image.fromarray(colour).convert("CMYK"), "tif"), (Image.fromarray(colour).convert("P"), "gif"),
            (Image.fromarray(colour).convert("1"), "png"), (Image.fromarray(colour).convert("1"), "tif")]):
        path = tmp_path / f"{i}.{suffix}"
        image.save(path)
        read = data.read_image(path)
        assert read.dtype == np.uint8
        with Image.open(path) as expected:
            expected = expected.convert("L" if expected.mode in ("1", "L") else "RGB")
        np.testing.assert_array_equal(read, expected, str(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    """Pillow turns 8-bit files; deep ones are turned here, to the same picture."""
    exif = Image.Exif()
    exif[0x112] = orientation
    values = np.uint8(DEEP[..., 0] >> 8)
    turned = []
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name, exif=exif)
        turned.append(data.read_image(tmp_path / name))
    deep = _file(tmp_path / "b.tif", values * np.uint16(257), extratags=[(0x112, 3, 1, orientation, True)])
    turned.append(np.uint8(np.round(data.read_image(deep) * 255)))
    content = imagecodecs.png_encode(values * np.uint16(257))
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "b.png").write_bytes(content[:33] + chunk + content[33:])  # behind the header
    turned.append(np.uint8(np.round(data.read_image(tmp_path / "b.png") * 255)))
    marked = Image.fromarray(values)
    marked.getexif()[0x112] = orientation
    for image in turned:
        np.testing.assert_array_equal(image, ImageOps.exif_transpose(marked))


def test_transparency_is_left_out_and_told(tmp_path):
    for channels, kept in ((2, 1), (4, 3)):
        for values, white in ((DEEP[..., :channels], 65535), (np.uint8(DEEP[..., :channels] >> 8), 255)):
            picture = data.pictures.read_picture(_file(tmp_path / "a.png", values))
            np.testing.assert_allclose(data.unit(picture.pixels), values[..., :kept].squeeze() / white, rtol=1e-6)
            assert picture.transparent
            values = values.copy()
            values[..., -1] = white
            assert not data.pictures.read_picture(_file(tmp_path / "a.png", values)).transparent


def _within(path, whole, codec):
    """A TIFF whose header tells of fewer pixels than its strip, a whole file of a codec, unpacks to."""
    content = _file(path, DEEP[:4, :5, 0], rowsperstrip=4).read_bytes()
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        places = {name: tags[name].valueoffset for name in ("Compression", "StripOffsets", "StripByteCounts")}
    content = bytearray(content + whole)
    struct.pack_into("<H", content, places["Compression"], codec)
    struct.pack_into("<I", content, places["StripOffsets"], len(content) - len(whole))
    struct.pack_into("<I", content, places["StripByteCounts"], len(whole))
    path.write_bytes(content)


def _smaller_header(path):
    """A JPEG 2000 file whose header tells of 5x4 pixels, its code stream of 9x6."""
    content = _file(path, DEEP[..., 0]).read_bytes()
    path.write_bytes(content.replace(b"ihdr" + struct.pack(">II", 6, 9), b"ihdr" + struct.pack(">II", 4, 5)))


LARGER = {
    "a PNG in a TIFF": lambda p: _within(p / "a.tif", imagecodecs.png_encode(DEEP[..., 0].copy()), 34933),
    "JPEG 2000 in a TIFF": lambda p: _within(p / "a.tif", imagecodecs.jpeg2k_encode(DEEP[..., 0].copy()), 34712),
    "a larger code stream": lambda p: _smaller_header(p / "a.jp2"),
}
REFUSED = LARGER | {
    "32-bit integers": lambda p: _file(p / "a.tif", DEEP[..., 0].astype(np.uint32)),
    "signed integers": lambda p: _file(p / "a.tif", DEEP[..., 0].astype(np.int16)),
    "floats beyond 1": lambda p: _file(p / "a.tif", DEEP[..., 0].astype(np.float32)),
    "not a number": lambda p: _file(p / "a.tif", np.full((4, 4), np.nan, np.float32)),
    "a palette of 16 bits": lambda p: _file(p / "a.tif", DEEP[..., 0], photometric="palette",
                                            colormap=np.zeros((3, 65536), np.uint16)),
    "CMYK of 16 bits": lambda p: _file(p / "a.tif", DEEP, photometric="separated"),
    "five channels": lambda p: _file(p / "a.tif", np.concatenate([DEEP, DEEP[..., :1]], -1), photometric="rgb",
                                     planarconfig="contig", extrasamples=(0, 0)),
    "AVIF of 10 bits": lambda p: _file(p / "a.avif", DEEP[..., :3] >> 6, bitspersample=10),
    "PNM as text": lambda p: (p / "a.ppm").write_text("P2 2 2 65535\n1 2 3 4\n"),
    "a raw file": lambda p: _file(p / "a.dng", DEEP[..., :3], extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]),
    "a preview": lambda p: _file(p / "a.nef", np.uint8(DEEP[..., :3] >> 8), subfiletype=1),
    "colours of Lab": lambda p: Image.new("LAB", (4, 4)).save(p / "a.tif"),
    "nothing": lambda p: (p / "a.png").write_bytes(b""),
    "a PDF": lambda p: Image.new("L", (4, 4)).save(p / "a.pdf"),
    "PostScript": lambda p: Image.new("L", (4, 4)).save(p / "a.eps"),
    "a HEIC": lambda p: (p / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90)),
    "a FIFO": lambda p: os.mkfifo(p / "a.png"),
    "text": lambda p: (p / "a.png").write_text("no image"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_exactly_is_refused(tmp_path, what):
    REFUSED[what](tmp_path)
    (path,) = tmp_path.iterdir()
    with pytest.raises(data.DataError, match=f"{path.name} cannot be read as an image: ") as caught:
        data.read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", LARGER)
def test_what_is_larger_than_it_says_is_not_decoded(tmp_path, what, monkeypatch):
    for decoder in ("png_decode", "jpeg2k_decode"):
        monkeypatch.setattr(imagecodecs, decoder, lambda *_, **__: pytest.fail("decoded"))
    LARGER[what](tmp_path)
    with pytest.raises(data.DataError, match="compressed by|its code stream has 9x6 pixels"):
        data.read_image(next(tmp_path.iterdir()))


def test_bits_are_read(tmp_path):
    """PBM packs eight pixels a byte."""
    values = RNG.integers(0, 2, (9, 13)).astype(bool)
    Image.fromarray(values).save(tmp_path / "a.pbm")
    np.testing.assert_array_equal(data.read_image(tmp_path / "a.pbm"), 255 * np.uint8(values))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "8.png", "8.tif", "8.jpg", "8.webp", "a.pnm"])
def test_cut_files_are_refused(tmp_path, name):
    """Half a picture is not one, whatever the reader makes of it."""
    values = RNG.integers(0, 65536, (40, 50, 3), np.uint16)
    if name == "a.pnm":
        (tmp_path / name).write_bytes(b"P6 50 40 65535\n" + values.astype(">u2").tobytes())
    elif name.startswith("8"):
        Image.fromarray(np.uint8(values >> 8)).save(tmp_path / name)
    else:
        _file(tmp_path / name, values)
    content = (tmp_path / name).read_bytes()
    data.read_image(tmp_path / name)
    for share in (0.2, 0.6, 0.95):
        (tmp_path / name).write_bytes(content[:int(share * len(content))])
        with pytest.raises(data.DataError):
            data.read_image(tmp_path / name)


def test_deep_photos_are_trained_on_at_their_depth():
    """A ramp finer than 8 bits: a patch holds its steps; beside 8-bit images, both keep their pixels."""
    ramp = np.float32(np.arange(900).reshape(30, 30)) / 65535
    _, Y = next(iter(tasks.Denoising(sigma=0).batches([ramp], seed=0, batch_size=9, size=20)(0)))
    full = [patch for patch in Y.numpy()[..., 0] if np.ptp(patch) * 65535 > 580]  # patches of the image at full size
    assert full and all(np.allclose(np.diff(np.unique(patch)) * 65535, 1, atol=0.01) or np.unique(patch).size == 400
                        for patch in full)
    white = np.full((30, 30), 255, np.uint8)
    _, Y = next(iter(tasks.Denoising(sigma=0).batches([ramp, white], seed=0, batch_size=9, size=20)(0)))
    assert sorted(np.unique(Y.numpy().max(axis=(1, 2)) > 0.5)) == [False, True] and Y.numpy().max() == 1.0
    X, _ = next(iter(tasks.Examples().batches([(ramp, ramp)], seed=0, batch_size=2, size=20)(0)))
    assert set(np.unique(np.round(X.numpy() * 65535, 3))) <= set(range(900))
    X, _ = next(iter(tasks.SuperResolution((2,)).batches([ramp], seed=0, batch_size=2, size=20)(0)))
    assert X.numpy().max() < 0.02


def test_grey_and_colour_of_deep_images():
    """Pillow's own conversion, on 8 bits."""
    values = np.uint8(DEEP[..., :3] >> 8)
    np.testing.assert_allclose(data.grey(data.unit(values)) * 255, data.grey(values), atol=0.51)
    np.testing.assert_array_equal(data.rgb(data.unit(values[..., 0])), data.unit(data.rgb(values[..., 0])))
    np.testing.assert_array_equal(as_picture(data.unit(values[..., 0]), 9), as_picture(values[..., 0], 9))
    np.testing.assert_array_equal(data.eight_bits(data.unit(values)), values)


def test_answers_keep_their_depth(tmp_path):
    """Of services and of response folders; a network's answer may leave [0, 1], in a float file."""
    values = DEEP[..., :3]
    path = _file(tmp_path / "a.png", values)
    _same(picture(path.read_bytes(), values.shape), values, 65535)
    _same(picture(_file(tmp_path / "g.png", values[..., 0]).read_bytes(), values.shape), values[..., :1], 65535)
    _same(folder._read(path, values.shape), values, 65535)
    beyond = np.float32([[-0.5, 1.25], [0.0, 1.0]])
    np.testing.assert_array_equal(folder._read(_file(tmp_path / "b.tif", beyond), beyond.shape), beyond[..., None])
    with pytest.raises(ValueError, match="no PNG"):
        picture(b"\x89PNG", values.shape)
    assert data.read_image(io.BytesIO(path.read_bytes())).shape == (6, 9, 3)
