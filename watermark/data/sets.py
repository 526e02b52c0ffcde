"""Named image sets: a local folder first, then a download checked by hash, else a clear error.

None of these images ships with the project, except `sample`, which lies in scikit-image's wheel, and `drawn`, which is
drawn by this code.
"""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from functools import cache
from pathlib import Path

import numpy as np

from watermark.data import drawn
from watermark.data.pictures import DataError, read_image
from watermark.files import atomic_write, sha256

TIMEOUT = 20  # seconds without a byte
LARGEST = 64 << 20  # bytes; no file of any set comes near
SAMPLE_TEST = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
SAMPLE_TRAIN = ("brick.png", "cell.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png",
                "moon.png", "motorcycle_right.png", "page.png", "retina.jpg", "text.png")
DRAWN = {"logo.png": drawn.logo, "sign.png": drawn.sign}  # the set "drawn", named as the set "copyright"
SAMPLES = {"sample": SAMPLE_TEST + SAMPLE_TRAIN, "sample_test": SAMPLE_TEST, "sample_train": SAMPLE_TRAIN}
UNIONS = {"291": ("t91", "bsd200")}
HALVES = {"kth_tips_train": ("kth_tips_grey", 0), "kth_tips_test": ("kth_tips_grey", 1)}  # every second image
PAIRED = {"polyu": ("_real", "_mean")}  # endings of the names of a noisy image and of its clean one
LOCAL_ONLY = ("div2k",)  # published as one 3.5 GB archive, not file by file


class AbsentError(DataError):
    """A set that is not on this machine and cannot be had; one that is there in part, or damaged, is none."""


@cache
def sources() -> dict[str, dict]:
    """{name: {"url": folder at a pinned commit, "files": {path: SHA-256}}} of every set that can be downloaded."""
    return json.loads(Path(__file__).with_name("sets.json").read_text())


def names() -> list[str]:
    """Every name that `images` takes."""
    return sorted([*sources(), *UNIONS, *HALVES, *LOCAL_ONLY, *SAMPLES, "drawn"])


def images(name: str, data_dir: str | Path | None = None, download_dir: str | Path = "data") -> dict[str, np.ndarray]:
    """The images of a set.

    Args:
      name: one of `names()`.
      data_dir: folder with one folder per set; default is the environment's WATERMARK_DATA.
      download_dir: where downloads are kept.

    Returns:
      {path within the set: uint8 array [H, W] or [H, W, 3]}, in the order of the paths.

    Raises:
      ValueError: for an unknown name, with the choices.
      DataError: when the set cannot be had; the message names the ways to get it.
    """
    if name not in names():
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(names())}")
    if name in SAMPLES:
        import skimage

        folder = Path(skimage.__file__).parent / "data"
        return {file: read_image(folder / file) for file in SAMPLES[name]}
    if name == "drawn":
        return {file: draw() for file, draw in DRAWN.items()}
    if name in UNIONS:
        parts = {part: images(part, data_dir, download_dir) for part in UNIONS[name]}
        return {f"{part}/{file}": image for part, found in parts.items() for file, image in found.items()}
    if name in HALVES:
        whole_set, first = HALVES[name]
        return dict(list(images(whole_set, data_dir, download_dir).items())[first::2])
    folder, files = _find(name, data_dir or os.environ.get("WATERMARK_DATA"), Path(download_dir))
    return {file: read_image(folder / file) for file in files}


def _find(name, data_dir, download_dir):
    """(folder, sorted paths) of a set that is complete on this machine, downloaded if need be."""
    listed = sources().get(name, {"files": {}})["files"]
    if data_dir and (local := Path(data_dir) / name).is_dir():
        found = sorted(str(p.relative_to(local)) for p in local.rglob("*")
                       if p.is_file() and not p.name.startswith("."))  # such as .DS_Store
        missing = sorted(set(listed) - set(found))
        if missing or not found:
            raise DataError(f"{local} lacks {len(missing) or 'all'} images of {name}, such as {missing[:1]}; "
                            "complete it, or rename it to have the set downloaded")
        return local, sorted(listed) or found
    try:
        if not listed:
            raise DataError("it cannot be downloaded file by file")
        download(sources()[name], download_dir / name)
    except DataError as error:
        network = f"run once with a network, which downloads it into {download_dir}/; or " if listed else ""
        raise AbsentError(
            f"data set {name} is not here ({error}). {'Three' if listed else 'Two'} ways to get it: put its images "
            f"into DIR/{name}/ and pass --data_dir=DIR or set WATERMARK_DATA=DIR; or {network}use the bundled set "
            "'sample'") from error
    return download_dir / name, sorted(listed)


def download(source: dict, folder: str | Path) -> None:
    """Downloads the files of `source` that `folder` does not have yet; each is kept only if its hash is right."""
    from rich.console import Console
    from rich.progress import track

    missing = [file for file in source["files"] if not (Path(folder) / file).exists()]
    for file in track(missing, f"downloading {Path(folder).name}", console=Console(stderr=True),
                      disable=not missing):
        url = f"{source['url']}/{urllib.parse.quote(file)}"
        try:
            with atomic_write(Path(folder) / file) as temporary:
                _fetch(url, temporary)
                if (found := sha256(temporary)) != source["files"][file]:
                    raise DataError(f"{url} has SHA-256 {found[:12]}…, expected {source['files'][file][:12]}…")
        except OSError as error:
            raise DataError(f"{url}: {error}") from error


def _fetch(url, path):
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, open(path, "wb") as file:
        size = 0
        while block := response.read(1 << 16):
            size += len(block)
            if size > LARGEST:
                raise DataError(f"{url} is larger than {LARGEST} bytes")
            file.write(block)
