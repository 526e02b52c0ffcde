"""Answers in JSON: counted before they are parsed, and what is looked for in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from watermark.errors import printable
from watermark.suspects.answers import picture, pixels_at_most

REST = 1 << 16  # names, fields and further outputs that an answer may have beside its numbers
PIXELS = 1 << 22  # of a whole answer, 2048x2048: what is asked follows a server's metadata, which may be a lie


def parsed(content: bytes, images: np.ndarray) -> Any:
    """What a body says in JSON in answer to images [N, H, W, C].

    Three bytes of it, an empty list and a comma, take 64 in memory: what no answer holds is refused before.
    """
    count, height, width, channels = images.shape
    pixels = min(pixels_at_most(images.shape), PIXELS)
    most = {"[": pixels + REST, ",": max(channels, 3) * pixels + REST, "{": REST, ":": REST, '"': REST}
    for mark, limit in most.items():
        if (found := content.count(mark.encode())) > limit:
            raise ValueError(f"JSON with {found} times {mark}; an answer to {count} of {height}x{width} pixels has it "
                             f"at most {limit} times")
    return json.loads(content)


def _there(value):
    """{name: value} of an object or a list, {} of anything else."""
    return value if isinstance(value, dict) else dict(zip(map(str, range(len(value))), value, strict=True)
                                                      if isinstance(value, list) else ())


def member(value: Any, *names: str) -> tuple[str, Any]:
    """(name, value) of the first of some names that parsed JSON has."""
    there = _there(value)
    for name in names:
        if name in there:
            return name, there[name]
    found = printable(", ".join(there))[:80] if there else f"a {type(value).__name__} without fields"
    raise ValueError(f"no {' or '.join(map(repr, names))} there, but {found}")


def at(path: str, value: Any) -> Any:
    """What stands at a.b.0 in parsed JSON."""
    for step in path.split("."):
        try:
            _, value = member(value, step)
        except ValueError as error:
            raise ValueError(f"--answer=json:{path}: {error}") from error
    return value


def named(values: dict, wanted: str | None) -> Any:
    """One of {name: value}, or the only one."""
    if wanted is None and len(values) == 1:
        return next(iter(values.values()))
    if wanted not in values:
        raise KeyError(f"outputs {', '.join(map(str, values))}; name one of them, --output=NAME")
    return values[wanted]


def counted(items: Any, images: Sequence) -> list:
    """`items`, one for each of the images, counted before any is decoded."""
    if not isinstance(items, list) or len(items) != len(images):
        found = len(items) if isinstance(items, list) else f"a {type(items).__name__}"
        raise ValueError(f"expected {len(images)} images, got {found}")
    return items


def floats(values: Any) -> np.ndarray:
    """float32 of nested lists of numbers."""
    values = np.asarray(values, object)  # as an array of texts, short ones would take the room of the longest
    if other := {type(value).__name__ for value in values.ravel()} - {"int", "float", "bool"}:
        raise ValueError(f"expected real numbers in lists of one length, got {', '.join(sorted(other))}")
    try:
        return values.astype(np.float64).astype(np.float32)
    except OverflowError as error:
        raise ValueError("expected numbers that a float can hold, got a larger one") from error


def base64_picture(text: Any, asked: Sequence[int]) -> np.ndarray:
    """Of a picture in base64, as a data URL or without its head."""
    if not isinstance(text, str):
        raise ValueError(f"a {type(text).__name__}, expected an image in base64")
    return picture(base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text), asked)
