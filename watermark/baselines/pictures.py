"""Abstract pictures drawn from a seed: what stands in for the abstract paintings of Adi et al."""

import itertools

import numpy as np

from watermark.baselines.common import integers
from watermark.kinds import Kind

SHAPES = 8
UNIT = 1 << 12  # side of the canvas, whatever the picture's size in pixels
SKETCH = (32, 32)  # what contrast is judged on, so that it is one drawing at any size
CONTRAST = 50**2  # least variance of the greys


def _disc(x, y, a, b, c):
    return (x - a) ** 2 + (y - b) ** 2 < (c // 2) ** 2


def _rings(x, y, a, b, c):
    return ((x - a) ** 2 + (y - b) ** 2) // (UNIT * (c // 4 + UNIT // 8)) % 2 == 0


def _stripes(x, y, a, b, c):
    across, down = a % 17 - 8, b % 17 - 8
    return (across * x + down * y) // (c + UNIT) % 2 == 0


def _side(x, y, a, b, c):
    across, down = a % 17 - 8, b % 17 - 8
    return across * (x - c) + down * (y - b) > 0


FIGURES = (_disc, _rings, _stripes, _side)


def abstract_pictures(seed: int | str, kind: Kind, count: int) -> np.ndarray:
    """`count` pictures, uint8 [count, H, W, C]: discs, rings, stripes and half-planes, each adding a grey modulo 256.

    All of it is whole numbers, so that every machine draws the same. A drawing of little contrast, which a network has
    nothing to tell by, is drawn again.
    """
    pictures = []
    for i in range(count):
        attempts = (f"{i} {attempt} {seed!r}" for attempt in itertools.count())
        name = next(name for name in attempts if _contrast(_draw(name, SKETCH, kind.channels)) >= CONTRAST)
        pictures.append(_draw(name, kind.sides, kind.channels))
    return np.stack(pictures)


def _draw(name, sides, channels):
    rows, columns = ((2 * np.arange(side) + 1) * (UNIT // 2) // side for side in sides)
    y, x = rows[:, None], columns[None, :]
    draws = integers(f"adi picture {name}", (SHAPES, 4), UNIT)
    greys = integers(f"adi greys {name}", (SHAPES, channels))
    picture = np.zeros((*sides, channels), np.uint8)
    for (figure, *place), grey in zip(draws, greys, strict=True):
        picture[FIGURES[figure % len(FIGURES)](x, y, *place)] += np.uint8(grey)
    return picture


def _contrast(picture):
    """Variance of the greys, rounded down in whole numbers."""
    greys = np.int64(picture)
    return (greys.size * np.sum(greys**2) - np.sum(greys) ** 2) // greys.size**2
