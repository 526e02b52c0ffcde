"""Between a key and a suspect of another pixel range, size or alignment: plain steps on arrays [N, H, W, C]."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np


class Pixels(NamedTuple):
    """A range of pixels; keys and images of this program lie on [0, 1].

    >>> Pixels(-1.0, 1.0).of(0.75), Pixels(-1.0, 1.0).back(0.5)
    (0.5, 0.75)
    """

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Pixels:
        """Of "LOW,HIGH", as in --range=0,255; a ValueError unless LOW < HIGH."""
        try:
            low, high = map(float, text.split(","))
        except ValueError as error:
            raise ValueError(f"--range={text}: expected LOW,HIGH, such as 0,1 or 0,255 or -1,1") from error
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"--range={text}: expected LOW < HIGH, such as 0,1 or 0,255 or -1,1")
        return cls(low, high)

    def of(self, images: Any) -> Any:
        """From [0, 1] to this range."""
        return images if self == UNIT else self.low + (self.high - self.low) * images

    def back(self, images: Any) -> Any:
        """From this range to [0, 1]."""
        return images if self == UNIT else (images - self.low) / (self.high - self.low)

    @property
    def told(self) -> str:
        """As --range takes it."""
        return f"{self.low:g},{self.high:g}"

    def __str__(self):
        return f"[{self.low:g}, {self.high:g}]"


UNIT, BYTES, SIGNED, CENTRED = Pixels(0.0, 1.0), Pixels(0.0, 255.0), Pixels(-1.0, 1.0), Pixels(-128.0, 127.0)
RANGES = (UNIT, BYTES, SIGNED)  # those that networks are trained on
MULTIPLES = (8, 16, 32, 64, 128)  # that networks of several scales take, pixels


def padded(images: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Images [N, H, W, C] continued to the right and below, by reflection, up to `sides`.

    A network sees past the edge of K then, where it saw none when it was marked, and answers there a little otherwise.
    Measured on the shipped marked DnCNN, RED and VDSR with 40x40 in 50x50: rho .93, .94, .78 in this way; .81, .93, .86
    with the border repeated; .85, .95, .71 with zeros; .93, .92, .67 with noise; .87, .88, .61 with K in the middle.
    """
    height, width = (side - there for side, there in zip(sides, images.shape[1:3], strict=True))
    return np.pad(images, ((0, 0), (0, height), (0, width), (0, 0)), mode="reflect")


def continued(images: np.ndarray, around: tuple[int, int]) -> np.ndarray:
    """Images [N, H, W, C] continued by reflection, by so many rows above and below and columns left and right."""
    return np.pad(images, ((0, 0), *((more, more) for more in around), (0, 0)), mode="reflect")


def lacking(sides: tuple[int, int], expected: tuple[int, int], own: tuple[int, int],
            fixed: tuple[int, int] | None = None) -> tuple[tuple[int, int], int] | None:
    """How far questions must grow where answers lack edges, as of networks that do not pad; by up to a fourth.

    Args:
      sides: of the answers.
      expected: of the answers to questions of `own` sides.
      own: a question's.
      fixed: what questions are continued to, where the network takes one size only; K is put in the middle then.

    Returns:
      (by how many pixels a question is continued on each side, the most pixels that an answer lacks on one). None where
      nothing is lacking, or so much that it is another factor's answer, or more than a fixed size leaves around K.

    >>> lacking((28, 28), (40, 40), (40, 40)), lacking((76, 80), (80, 80), (40, 40))
    (((6, 6), 6), ((1, 0), 2))
    >>> lacking((120, 120), (40, 40), (40, 40), fixed=(128, 128))
    ((44, 44), 4)
    """
    asked = fixed or own
    whole = [side * wanted // o for side, wanted, o in zip(asked, expected, own, strict=True)]
    missing = [wanted - side for side, wanted in zip(sides, whole, strict=True)]
    if min(missing) < 0 or not any(missing) or any(2 * m >= wanted for m, wanted in zip(missing, whole, strict=True)):
        return None
    least = tuple(-(-m * side // (2 * wanted)) for m, side, wanted in zip(missing, asked, whole, strict=True))
    around = tuple((side - o) // 2 for side, o in zip(asked, own, strict=True)) if fixed else least
    if any(room < less for room, less in zip(around, least, strict=True)):
        return None
    return around, max(least) * expected[0] // own[0]


def pads(sides: tuple[int, int], expected: tuple[int, int], question: tuple[int, int], own: tuple[int, int]) -> bool:
    """Whether answers of `sides` are `expected` ones with a margin, and not the answers of another factor.

    The question had `own` sides and was continued to those of `question`.
    """
    factors = [side / asked for side, asked in zip(sides, question, strict=True)]
    wanted = [there / asked for there, asked in zip(expected, own, strict=True)]
    if factors == wanted:
        return True
    another = factors[0] == factors[1] and factors[0].is_integer()
    return not another and all(1 <= f / w < 2 for f, w in zip(factors, wanted, strict=True))


def by(sides: tuple[int, int]) -> str:
    """Sides in words.

    >>> by((36, 64))
    '36x64'
    """
    return f"{sides[0]}x{sides[1]}"


def multiples(sides: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes to try for a network that takes multiples of some number only, the smallest first.

    >>> multiples((40, 40))
    [(48, 48), (64, 64), (128, 128)]
    """
    found = [tuple(-(-side // m) * m for side in sides) for m in MULTIPLES]
    return [size for size in dict.fromkeys(found) if size != tuple(sides)]


def moves(reach: int) -> list[tuple[int, int]]:
    """Shifts (down, right) of up to `reach` pixels, none first."""
    steps = range(-reach, reach + 1)
    return sorted(itertools.product(steps, steps), key=lambda move: abs(move[0]) + abs(move[1]))


def moved(images: np.ndarray, move: tuple[int, int]) -> np.ndarray:
    """Images [N, H, W, C] moved back by a shift (down, right), the border repeated where nothing is known."""
    down, right = move
    reach, (height, width) = max(map(abs, move)), images.shape[1:3]
    around = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    return around[:, reach + down:reach + down + height, reach + right:reach + right + width]


class Turn(NamedTuple):
    """What may be done to images before a network, and undone after it, in this order."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False
    negative: bool = False
    channels: tuple = ()  # the order that they are put in, such as (2, 1, 0); () as they are

    def of(self, images: np.ndarray) -> np.ndarray:
        """Images [N, H, W, C] on [0, 1], turned."""
        images = images[..., list(self.channels)] if self.channels else images
        return self._same_both_ways(images.swapaxes(1, 2) if self.transposed else images)

    def back(self, images: np.ndarray) -> np.ndarray:
        """What undoes it."""
        images = self._same_both_ways(images)
        images = images.swapaxes(1, 2) if self.transposed else images
        return images[..., np.argsort(self.channels)] if self.channels else images

    def _same_both_ways(self, images):
        images = images[:, ::-1 if self.upside_down else 1, ::-1 if self.mirrored else 1]
        return 1 - images if self.negative else images

    def __str__(self):
        words = [*itertools.compress(("transposed", "upside down", "mirrored", "negative"), self)]
        return " and ".join(words + [f"channels {', '.join(map(str, self.channels))}"] * bool(self.channels))


# The seven other orientations of an image, and all eight of its negative; of colours, each in every order of them.
TURNS = tuple(sorted(itertools.starmap(Turn, itertools.product((False, True), repeat=4)),
                     key=lambda turn: turn.negative))[1:]
ORDERS = tuple(itertools.permutations(range(3)))[1:]
COLOURED = tuple(turn._replace(channels=order) for order in ((), *ORDERS) for turn in (Turn(), *TURNS))[1:]
