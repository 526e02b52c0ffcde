"""A folder of response images as a suspect: someone else puts the queries, by hand if need be.

`write_queries` writes what is to be asked, each image under a name that follows from its pixels; the answers come
back under the same names, as `.npy` (exact) or as images of any depth.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from watermark.errors import raised_as
from watermark.files import PART, atomic_folder, check_place, content
from watermark.ports import SuspectError
from watermark.suspects.answers import array, picture
from watermark.suspects.protocols import png

SUFFIXES = (".npy", ".png", ".tif", ".tiff", ".bmp")
LARGEST = 256 << 20
FRESH = "fresh.json"  # comes with the questions, and back with the answers


def query_name(image: np.ndarray) -> str:
    """The name of a query and of its answer, from the pixels [H, W, C]; it does not tell the trigger from the rest."""
    return hashlib.sha256(np.ascontiguousarray(image, "<f4").tobytes()).hexdigest()[:16]


def write_queries(folder: str | Path, images: np.ndarray, texts: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes images [N, H, W, C] as `.npy`, float32 on [0, 1], and beside it as `.png`, rounded to 8 bits.

    Nothing tells the first image from the others: they are written in the order of their names, all with one date, into
    a folder without files, since what two sets of questions have in common would be the trigger. A new folder appears
    whole or not at all, in an empty one `FRESH` comes last.

    Args:
      folder: a new or an empty one.
      images: the questions.
      texts: {name: content} of files that go with them.

    Raises:
      ValueError: for a folder that has files, and for a file.
    """
    folder = Path(folder)
    there = folder.iterdir() if folder.is_dir() else [folder] if folder.exists() else []
    if any(not path.name.startswith(PART) for path in there):  # of a write that was killed
        raise ValueError(f"{folder} is there and no empty folder; questions go into a folder of their own")
    check_place(folder / FRESH, f"the folder of questions {folder}")
    if not folder.exists():
        with atomic_folder(folder) as made:
            return _fill(made, images, texts)
    with atomic_folder(folder / "questions") as made:  # one that is there, as a mounted one, is not replaced
        _fill(made, images, texts)
        for file in sorted(made.iterdir(), key=lambda file: (file.name == FRESH, file.name)):  # by it all is complete
            os.replace(file, folder / file.name)
    (folder / "questions").rmdir()


def _fill(made, images, texts):
    made.mkdir()
    for image in sorted(images, key=query_name):
        np.save(made / f"{query_name(image)}.npy", np.asarray(image, np.float32), allow_pickle=False)
        (made / f"{query_name(image)}.png").write_bytes(png(image))
    for name, text in texts.items():
        (made / name).write_text(text, encoding="utf-8")
    now = time.time()
    for written in made.iterdir():
        os.utime(written, (now, now))


def answer_files(folder: str | Path) -> list[str]:
    """Names of the files that make a folder one of answers: response images, and what comes with them."""
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix in SUFFIXES or path.name == FRESH)


def fresh_asked(folder: str | Path) -> tuple[int, str]:
    """(how many fresh keys, the nonce) of the questions that a folder has the answers to; else a SuspectError."""
    path = Path(folder) / FRESH
    try:
        asked = json.loads(content(path, 1000))  # it comes back from someone else
        count, nonce = int(asked["null_keys"]), str(asked["nonce"])
        if count < 0:
            raise ValueError(count)
        return count, nonce
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SuspectError(f"{folder} has no {FRESH} that tells which fresh keys were asked; copy it from the folder "
                           "of questions (--write_queries), or ask for none with --null_keys=0") from error


def load_folder(folder: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """A suspect that answers a query with the image of its name in `folder`; others raise a SuspectError."""
    folder = Path(folder)
    if not set(answer_files(folder)) - {FRESH}:
        raise SuspectError(f"{folder} is no SavedModel and holds no response image ({', '.join(SUFFIXES)})")

    def answer(image):
        name = query_name(image)
        there = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
        if there[1:]:
            raise SuspectError(f"{folder} holds {there[0].name} and {there[1].name}, of which one may be the question; "
                               "put the answers into a folder of their own, one for each question")
        if there:
            found = _read(there[0], image.shape)
            if np.array_equal(found, image):
                raise SuspectError(f"{there[0]} is the question itself, pixel for pixel, and no answer to it")
            return found
        raise SuspectError(f"{folder} holds no answer {name}.npy or .png; write the queries with --write_queries, "
                           "with the same key and --null_keys")

    def suspect(images):
        with raised_as(SuspectError, f"{folder} holds answers that are not of one size"):
            return np.stack([answer(image) for image in images])

    suspect.closed = True  # it has answers to the questions that were written, and to no others
    return suspect


def _read(path, asked):
    """float32 [H', W', C] of a response file, of a size that can answer an image `asked` [H, W, C]."""
    with raised_as(SuspectError, f"{path} cannot be read as an image"):
        return array(path, asked) if path.suffix == ".npy" else picture(content(path, LARGEST), asked)
