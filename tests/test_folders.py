"""Folders as people have them. Oracles: the names of the field's data sets, and counts by hand."""

import logging
import os

import imagecodecs
import keras
import numpy as np
import pytest
from PIL import Image

from watermark import cli, data, models, tasks
from watermark.data import pairs
from watermark.errors import WatermarkError

RNG = np.random.default_rng(0)


def _photo(path, height=30, width=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = RNG.integers(0, 256, (height, width), np.uint8)
    Image.fromarray(image).save(path)
    return image


@pytest.fixture
def mixed(tmp_path):
    """A folder with two photos, one of them in a sub-folder, and six files that are none; a link to itself."""
    photos = {"a.png": _photo(tmp_path / "a.png"), "sub/ü b.tif": _photo(tmp_path / "sub/ü b.tif")}
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(content[:len(content) // 2])
    Image.fromarray(photos["a.png"]).save(tmp_path / "d.pdf")
    (tmp_path / "e.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
    os.mkfifo(tmp_path / "f.png")
    (tmp_path / "g.png").symlink_to("nowhere.png")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / ".DS_Store").write_text("hidden")
    _photo(tmp_path / ".thumbnails/a.png")
    return tmp_path, photos


def test_what_is_no_image_is_skipped_and_told(mixed, caplog):
    folder, photos = mixed
    found = data.folder_images(folder)
    assert list(found) == list(photos)
    for name, image in photos.items():
        np.testing.assert_array_equal(found[name], image)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"6 of 8 files skipped, the first: {folder}/b.jpg cannot be read as an image")


@pytest.mark.parametrize("name", ["b.jpg", "cut.png", "d.pdf", "e.heic", "f.png", "g.png"])
def test_strict_folders_and_folders_of_nothing_else(mixed, tmp_path_factory, name):
    bad = mixed[0] / name
    folder = tmp_path_factory.mktemp("bad")
    bad.rename(folder / name)
    with pytest.raises(data.DataError, match=f"{name} cannot be read as an image"):
        data.folder_images(folder)
    _photo(folder / "z.png")
    assert list(data.folder_images(folder)) == ["z.png"]
    with pytest.raises(data.DataError, match=f"{name} cannot be read as an image"):
        data.folder_images(folder, strict=True)


def test_transparency_is_told(tmp_path, caplog):
    for name, alpha in (("a.png", 128), ("b.png", 255)):
        Image.new("RGBA", (5, 5), (9, 8, 7, alpha)).save(tmp_path / name)
    assert data.folder_images(tmp_path)["a.png"][0, 0].tolist() == [9, 8, 7]
    assert [r.getMessage() for r in caplog.records] == [
        "1 images have transparent pixels: their colours are taken, transparency is left out"]


@pytest.mark.parametrize("inputs, targets", [
    (["0001x4.png", "0002x4.png"], ["0001.png", "0002.png"]),  # DIV2K, Flickr2K
    (["0801x4m.png"], ["0801.png"]),  # DIV2K mild; difficult and wild likewise
    (["0801x4w2.png"], ["0801.png"]),
    (["00.png", "01.png"], ["00.jpg", "01.jpg"]),
    (["X2/0001x2.png"], ["0001.png"]),
    (["LR_bicubic/X3/0001x3.png"], ["HR/0001.png"]),
    (["baby_LR.png", "bird_LR.png"], ["baby_HR.png", "bird_HR.png"]),
    (["img_001_SRF_4_LR.png", "img_002_SRF_4_LR.png"], ["img_001_SRF_4_HR.png", "img_002_SRF_4_HR.png"]),  # SelfExSR
    (["babyx2.png"], ["baby.bmp"]),  # Set5
    (["baby_LRBI_x2.png"], ["baby_HR_x2.png"]),  # EDSR, RCAN
    (["Canon_001_LR4.png", "Canon_002_LR4.png"], ["Canon_001_HR.png", "Canon_002_HR.png"]),  # RealSR
    (["0001_S6/0001_NOISY_SRGB_010.PNG"], ["0001_S6/0001_GT_SRGB_010.PNG"]),  # SIDD
    (["Canon5D2_5_real.JPG"], ["Canon5D2_5_mean.JPG"]),  # PolyU
    (["rain-001.png", "rain-002.png"], ["norain-001.png", "norain-002.png"]),  # Rain100
    (["GOPR01/blur/000001.png", "GOPR02/blur/000001.png"], ["GOPR01/sharp/000001.png", "GOPR02/sharp/000001.png"]),
    (["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
    (["0001.png", "0001_lr.png"], ["0001.png", "0001_lr.png"]),  # equal names come first
])
def test_names_of_the_field_are_matched(inputs, targets):
    assert pairs.match(inputs, targets) == (list(zip(inputs, targets, strict=True)), [], [])
    assert pairs.match(inputs, [*targets, "zebra.png"]) == (list(zip(inputs, targets, strict=True)), [], ["zebra.png"])


def test_an_x_and_a_digit_may_be_a_names_own():
    """fox1 and fox2 are two photographs; babyx2 is baby, made smaller."""
    assert pairs.match(["a.png", "fox1.png"], ["a.jpg", "fox2.jpg"]) == ([("a.png", "a.jpg")], ["fox1.png"],
                                                                         ["fox2.jpg"])
    boxes = ["box1.png", "box2.png"], ["box1_gt.png", "box2_gt.png"]
    assert pairs.match(*boxes) == (list(zip(*boxes, strict=True)), [], [])
    assert pairs.match(["babyx2.png"], ["baby.png"])[0] == [("babyx2.png", "baby.png")]


@pytest.mark.parametrize("inputs, targets", [
    (["X2/0001x2.png", "X4/0001x4.png"], ["0001.png"]), (["0001x2.png", "0001x4.png"], ["0001.png"]),
    (["a.png"], ["a.jpg", "a.tif"]), (["a_LR.png"], ["HR/a.png", "GT/a.png"]),
])
def test_ambiguity_is_refused(inputs, targets):
    with pytest.raises(data.DataError, match=f"{inputs[0]}.*belong together by name"):
        pairs.match(inputs, targets)


def test_names_apart_are_refused():
    for inputs, targets in ((["a.png"], ["b.png"]), (["s1/a.png"], ["s2/a.png"]), (["a1.png"], ["a2.png"])):
        with pytest.raises(data.DataError, match="no file name in common"):
            pairs.match(inputs, targets)


def test_pairs_of_folders(tmp_path, caplog):
    """Matched, told, cut to the scale as the field does; bad files and files without a partner are left out."""
    caplog.set_level(logging.INFO)
    low = {i: _photo(tmp_path / f"LR/X2/{i}x2.png", 20, 25) for i in (1, 2, 4)}
    high = {i: _photo(tmp_path / f"HR/{i}.png", 41, 50) for i in (1, 2, 3)}
    (tmp_path / "LR/X2/5x2.png").write_bytes(b"")
    _photo(tmp_path / "HR/5.png")
    found = data.folder_pairs(tmp_path / "LR", tmp_path / "HR", scale=2)
    assert list(found) == ["X2/1x2.png", "X2/2x2.png"]
    for i, (small, large) in zip((1, 2), found.values(), strict=True):
        np.testing.assert_array_equal(small, low[i])
        np.testing.assert_array_equal(large, high[i][:40])
    matched, skipped = (record.getMessage() for record in caplog.records)
    assert matched == ("3 pairs, such as X2/1x2.png with 1.png; 2 files without a partner left out, the first "
                       f"{tmp_path}/LR/X2/4x2.png")
    assert skipped.startswith("1 of 3 pairs skipped, the first:") and "5x2.png" in skipped
    with pytest.raises(data.DataError, match="has no partner"):
        data.folder_pairs(tmp_path / "LR", tmp_path / "HR", scale=2, strict=True)
    for scale in (1, 3):
        with pytest.raises(data.DataError, match=f"expected {scale} times"):
            data.folder_pairs(tmp_path / "LR", tmp_path / "HR", scale=scale)


@pytest.mark.parametrize("inside", [True, False])
def test_links_to_folders_are_followed_and_not_in_circles(inside, tmp_path, caplog):
    """As they are where the photographs lie on another disk; oracle: the names by hand, each photograph once."""
    folder = tmp_path / "photos"
    other = (folder if inside else tmp_path) / "set1"
    photos = [_photo(other / f"{name}.png") for name in ("a", "deep/b")]
    folder.mkdir(exist_ok=True)
    for link, to in ((folder / "link", other), (other / "back", folder), (other / "deep/again", other),
                     (folder / "c.png", other / "a.png"), (folder / ".hidden", other)):
        link.symlink_to(to)
    found = data.folder_images(folder, strict=True)
    assert list(found) == ["c.png", "link/a.png", "link/deep/b.png"] and not caplog.records
    for image, photo in zip(found.values(), [photos[0], *photos], strict=True):
        np.testing.assert_array_equal(image, photo)


def test_a_pair_of_sizes_that_do_not_fit_ends_nothing(tmp_path, caplog):
    """Skipped and counted as a bad file is, one of four; strict, an error."""
    for i in range(4):
        _photo(tmp_path / f"in/{i}.png")
        _photo(tmp_path / f"to/{i}.png", width=41 if i == 2 else 40)
    assert list(data.folder_pairs(tmp_path / "in", tmp_path / "to")) == ["0.png", "1.png", "3.png"]
    why = "2.png: the target has (30, 41) pixels, expected 1 times (30, 40)"
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warned == [f"1 of 4 pairs skipped, the first: {why}"]
    with pytest.raises(data.DataError, match="2.png: the target has"):
        data.folder_pairs(tmp_path / "in", tmp_path / "to", strict=True)


PHOTOS = [np.zeros((30, 50), np.uint8), np.zeros((12, 44), np.uint8)]
TASKS = {  # task, its images from a photo, and the side of the largest patch in the largest photo, by hand
    "denoise": (tasks.Denoising(), lambda photo: photo, 30),
    "sr": (tasks.SuperResolution((4, 3)), lambda photo: photo, 30),  # 28 at scale 4, 30 at scale 3
    "small": (tasks.SuperResolution((3,), 3, small=True), lambda photo: photo, 10),
    "pairs": (tasks.Examples(), lambda photo: (photo, photo), 30),
}


@pytest.mark.parametrize("name", TASKS)
def test_photos_smaller_than_the_patch(name, caplog):
    caplog.set_level(logging.INFO)
    task, make, fits = TASKS[name]
    images = [make(photo) for photo in PHOTOS]
    with pytest.raises(ValueError, match=rf"got 2 of which the largest has 30x50.*; --patch={fits} fits it"):
        task.batches(images, seed=0, batch_size=2, size=40)
    assert not caplog.records
    X, _ = next(iter(task.batches(images, seed=0, batch_size=2, size=fits)(0)))
    assert X.shape[1:3] == (fits, fits)
    assert [r.getMessage() for r in caplog.records] == [
        f"1 of 2 images are smaller than a patch of {fits}x{fits} pixels and left out"]


def test_photos_smaller_than_any_patch():
    with pytest.raises(ValueError, match="got 1 of which the largest has 7x50; no patch of 8 or more fits it"):
        tasks.Denoising().batches([np.zeros((7, 50), np.uint8)], seed=0, batch_size=2, size=40)
    with pytest.raises(ValueError, match="got none at all"):
        tasks.Denoising().batches([], seed=0, batch_size=2, size=40)


def test_errors_are_the_projects():
    assert issubclass(data.DataError, WatermarkError) and issubclass(data.DataError, RuntimeError)


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """What an owner brings: a network, and 16-bit photos of different sizes with a damaged one among them."""
    folder = tmp_path_factory.mktemp("brought")
    inputs = keras.Input((None, None, 1))
    models.save_model(keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same")(inputs)), folder / "m.keras")
    for name, side in (("a", 50), ("b", 40), ("c", 30)):
        for kind in ("photos", "targets"):
            (folder / kind).mkdir(exist_ok=True)
            deep = RNG.integers(0, 65536, (side, side, 3), np.uint16)
            (folder / kind / f"{name}{'_LR' if kind == 'photos' else ''}.png").write_bytes(imagecodecs.png_encode(deep))
    (folder / "photos" / "d.png").write_bytes(b"")
    return folder


def _attack(brought, capsys, *more):
    (brought / "o.keras").unlink(missing_ok=True)
    code = cli.main(["attack", "--kind=finetune", f"--model={brought}/m.keras", f"--out={brought}/o.keras", "--steps=1",
                     "--batch_size=2", "--nopreflight", *more])  # a network that was never trained
    return code, capsys.readouterr().err.replace(str(brought), "").splitlines()


def test_the_command_line_tells_in_one_line_each(brought, capsys):
    code, lines = _attack(brought, capsys, f"--images={brought}/photos")
    assert code == 0
    assert lines == [
        "note: 1 of 4 files skipped, the first: /photos/d.png cannot be read as an image: it is empty",
        "note: 3 images are few to train on; with 20 or more, a network keeps its quality better",
        "note: 1 of 3 images are smaller than a patch of 40x40 pixels and left out"]
    code, lines = _attack(brought, capsys, "--task=pairs", f"--pairs={brought}/photos,{brought}/targets")
    assert code == 0
    assert lines[0] == ("note: 3 pairs, such as a_LR.png with a.png; 1 files without a partner left out, the first "
                        "/photos/d.png")


@pytest.mark.parametrize("flags, error", [
    (["--images={}/photos", "--strict"], "error: /photos/d.png cannot be read as an image: it is empty"),
    (["--task=pairs", "--pairs={}/photos,{}/targets", "--strict"], "error: /photos/d.png has no partner"),
    (["--images={}/photos", "--patch=64"], "error: expected images of at least 64x64 pixels for a patch of that size, "
     "got 3 of which the largest has 50x50; --patch=50 fits it"),
])
def test_the_command_line_refuses(brought, capsys, flags, error):
    code, lines = _attack(brought, capsys, *(flag.replace("{}", str(brought)) for flag in flags))
    assert code == 2 and lines[-1] == error
    assert all(line.startswith("note: ") for line in lines[:-1])
