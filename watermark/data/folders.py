"""Folders of the user's own: photos, and pairs of photos, whatever else lies beside them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from watermark.data.pairs import match
from watermark.data.pictures import DataError, read_picture
from watermark.footprint import memory

TIMES = 9  # the bytes of images: four sizes of them, and what they are made of
FEW = 20  # images, below which training on them is said to be thin
log = logging.getLogger(__name__)


def folder_images(folder: str | Path, *, strict: bool = False) -> dict[str, np.ndarray]:
    """{path within the folder: image as of `read_image`} of a folder and its sub-folders, sorted by path.

    Hidden files are left out; links are followed. Any other file that is no image is skipped; how many, and the first,
    is logged.

    Args:
      folder: a path.
      strict: raise for the first such file instead.

    Raises:
      DataError: there is no such folder, or no image in it.
    """
    names = _files(folder)
    return {group[0]: images[0] for group, images in _read([(name,) for name in names], [folder], strict).items()}


def folder_pairs(inputs: str | Path, targets: str | Path, *, scale: int = 1,
                 strict: bool = False) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{path within `inputs`: (input, target)} of two folders whose files belong together by name; see `match`.

    Args:
      inputs, targets: paths.
      scale: how many times an input its target is. Rows and columns of a target beyond that, fewer than `scale`, are
        left out, as the field does.
      strict: raise for a file that has no partner or is no image, and for two whose sizes do not fit, instead of
        logging how many there are.

    Raises:
      DataError: no file has a partner, some have several, or no image is left.
    """
    if Path(inputs).resolve() == Path(targets).resolve():
        log.warning("%s is given twice: every image is its own target", inputs)
    matched, *left = match(*([*_files(folder)] for folder in (inputs, targets)), (inputs, targets))
    alone = [f"{Path(folder) / name}" for folder, names in zip((inputs, targets), left, strict=True) for name in names]
    if alone and strict:
        raise DataError(f"{alone[0]} has no partner" + (f", nor have {len(alone) - 1} others" if alone[1:] else ""))
    a, b = matched[0]
    log.info("%d pairs, such as %s with %s%s", len(matched), a, b,
             f"; {len(alone)} files without a partner left out, the first {alone[0]}" if alone else "")
    found = _read(matched, [inputs, targets], strict, lambda name, *pair: _fitted(name, *pair, scale))
    return {name: pair for (name, _), pair in found.items()}


def _files(folder):
    """Paths below a folder, "/" between their parts, sorted; what is hidden is left out."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    names, seen = [], {os.path.realpath(folder)}

    def unread(error):
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); expected a folder that can") from error

    for here, folders, files in os.walk(folder, followlinks=True, onerror=unread):
        names += [Path(here, name).relative_to(folder).as_posix() for name in files if not name.startswith(".")]
        inside = {os.path.realpath(Path(here, name)): name for name in sorted(folders, reverse=True)
                  if not name.startswith(".")}
        folders[:] = sorted(name for real, name in inside.items() if real not in seen)  # links may go round
        seen |= inside.keys()
    if not names:
        raise DataError(f"{folder} holds no image file (.png, .jpg, .tif, …)")
    return sorted(names)


def _read(groups, folders, strict, fitted=lambda name, *images: images):
    """{group: its images} of groups of names, one name in each of `folders`; a group with a bad file is skipped.

    So is one that `fitted`, of the first name and the images, raises a DataError for.
    """
    found, bad, transparent, held = {}, [], 0, 0
    for group in groups:
        try:
            pictures = [read_picture(Path(folder) / name) for folder, name in zip(folders, group, strict=True)]
            found[group] = fitted(group[0], *(picture.pixels for picture in pictures))
        except DataError as error:
            if strict:
                raise
            bad.append(error)
            continue
        transparent += any(picture.transparent for picture in pictures)
        held += sum(picture.pixels.nbytes for picture in pictures)
        if TIMES * held > memory():  # the system would end the process, and without a word
            raise DataError(f"{folders[0]}: the first {len(found)} of {len(groups)} images have {held / 2**30:.1f} GiB "
                            f"of pixels, and training on them takes about {TIMES} times that, more than this machine "
                            "has; expected fewer or smaller ones, some hundred are plenty")
    if not found:
        others = f"; nor can the {len(bad) - 1} others" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{others}")
    if bad:
        log.warning("%d of %d %s skipped, the first: %s", len(bad), len(groups),
                    "pairs" if len(folders) > 1 else "files", bad[0])
    if transparent:
        log.warning("%d images have transparent pixels: their colours are taken, transparency is left out", transparent)
    return found


def _fitted(name, before, after, scale):
    """(input, target) with the target of `scale` times the input's size."""
    sides = [scale * side for side in before.shape[:2]]
    if not all(0 <= there - side < scale for there, side in zip(after.shape[:2], sides, strict=True)):
        raise DataError(f"{name}: the target has {after.shape[:2]} pixels, expected {scale} times {before.shape[:2]}")
    return before, after[:sides[0], :sides[1]]
