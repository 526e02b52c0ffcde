"""What a model file says of its input and output, and how images go in and come out by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from watermark.axes import LAYOUTS, allows, as_images, channels_in, like, turned
from watermark.errors import WatermarkError, brief, raised_as
from watermark.fitting import BYTES, CENTRED, SIGNED, UNIT, Pixels
from watermark.kinds import LARGEST

PIXELS = 1 << 18  # per call, which bounds memory at about 200 MB for 64 channels
FILLED = 1 << 26  # pixels of a query that is filled up to a file's fixed number of images
LARGER = 64  # times the numbers of an answer that is asked for: more are not kept to be refused later
WIDE = 8.0  # numbers that lie further apart than this are no pixels on [0, 1] or [-1, 1]
RANGED = "pixels are put on {}, and the answers' brought back from there"  # a note, unless the suspect has its own


class SuspectError(WatermarkError, RuntimeError):
    """A suspect that does not answer, or not with an image of the expected size."""


class Unreachable(SuspectError):
    """A suspect that answers nothing at all, whatever it is asked."""


def in_batches(run: Callable, images: np.ndarray, size: int | None = None, exact: bool = False,
               most: int | None = None) -> np.ndarray:
    """What `run` answers to images [N, H, W, C] that are put to it in pieces.

    Args:
      run: images -> as many answers.
      size: images a piece; by default what bounds memory (`PIXELS`).
      exact: whether every piece has that size; the last image is repeated where some are missing.
      most: images a piece at most, where no size is given; of a network that makes much of each.
    """
    size = size or max(1, min(PIXELS // (images.shape[1] * images.shape[2]), most or PIXELS))
    answers = []
    for i in range(0, len(images), size):
        piece = images[i:i + size]
        if exact and len(piece) < size:
            if (pixels := size * images.shape[1] * images.shape[2]) > FILLED:
                raise SuspectError(f"the suspect takes {size} images a query, {pixels:,} pixels; expected {FILLED:,} "
                                   "at most; ask it in a function of yours, --suspect=ask.py:function")
            answers.append(run(np.concatenate([piece, *[piece[-1:]] * (size - len(piece))]))[:len(piece)])
        else:
            answers.append(run(piece))
    return together(answers)


def together(answers: Sequence[np.ndarray]) -> np.ndarray:
    """Answers to pieces of a question as one array; a SuspectError where they are none."""
    with raised_as(SuspectError, "expected answers of one size, got several"):
        return np.concatenate(answers)


def in_numbers(answers: Any) -> np.ndarray:
    """Answers as an array of real numbers; a SuspectError where they are none."""
    try:
        responses = np.asarray(answers)
    except ValueError as error:  # of lists that are no array
        raise SuspectError(f"expected an array of answers, got {type(answers).__name__} of several shapes") from error
    if responses.dtype.kind not in "fiub" and responses.dtype.name != "bfloat16":
        raise SuspectError(f"expected answers in real numbers, got {responses.dtype}; is the suspect a network that "
                           "answers with images?")
    return responses


def check_sides(sides: tuple, who: object, most: int = LARGEST) -> tuple[int | None, int | None]:
    """(H, W) that a suspect asks for, None where free; a SuspectError beyond `most`, which questions are padded to."""
    if max(side or 0 for side in sides) > most:
        raise SuspectError(f"{who} takes images of {sides[0] or 'any'}x{sides[1] or 'any'} pixels; they are continued "
                           f"to at most {most} a side; ask it in a function of yours, --suspect=ask.py:function")
    return sides


def check_size(answers: np.ndarray, expected: tuple) -> np.ndarray:
    """Answers [N, ...]; a SuspectError for such as would fill the memory before all are there to be refused."""
    if math.prod(answers.shape[1:]) > LARGER * math.prod(expected):
        raise SuspectError(f"expected answers of shape {list(expected)}, got {list(answers.shape[1:])}; is the key for "
                           "this kind of model?")
    return answers


def check_holds(pixels: Pixels, limits: np.iinfo, who: str) -> None:
    """Refuses, with a SuspectError, a range whose pixels a type of whole numbers, `numpy.iinfo`, does not hold.

    On [0, 1] they would all be 0 or 1.
    """
    if pixels.high - pixels.low < WIDE or pixels.low < limits.min or pixels.high > limits.max:
        raise SuspectError(f"{who}, whole numbers from {limits.min} to {limits.max}, which do not hold pixels on "
                           f"--range={pixels.told}")


@dataclass(frozen=True)
class Port:
    """An input or output as the file declares it.

    Attributes:
      shape: a length for every axis, None where it is free; or None where nothing is known.
      dtype: what the file takes or gives.
      scale, zero: of integers that stand for (integer - zero) * scale; scale 0 where they stand for themselves.
    """

    shape: tuple | None
    dtype: np.dtype
    scale: float = 0.0
    zero: int = 0

    @property
    def whole(self) -> bool:
        """Whether it holds integers."""
        return np.issubdtype(self.dtype, np.integer)

    @property
    def pixels(self) -> Pixels:
        """The range of pixels that its integers tell of; [0, 1] for floats, which tell of none."""
        if not self.whole:
            return UNIT
        limits = np.iinfo(self.dtype)
        if not self.scale:
            return CENTRED if limits.max == 127 else BYTES
        low, high = ((limit - self.zero) * self.scale for limit in (limits.min, limits.max))
        if high - low > WIDE:
            return CENTRED if low < -WIDE else BYTES
        return SIGNED if max(abs(low + 1.0), abs(high - 1.0)) < 0.1 else UNIT

    def encoded(self, numbers: np.ndarray) -> np.ndarray:
        """Real numbers in this type."""
        if not self.whole:
            return numbers.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        numbers = np.round(numbers / self.scale) + self.zero if self.scale else np.round(numbers)
        return np.clip(numbers, limits.min, limits.max).astype(self.dtype)

    def decoded(self, numbers: np.ndarray) -> np.ndarray:
        """Real numbers, float32, of what came in this type."""
        numbers = np.asarray(numbers, np.float32)
        return (numbers - self.zero) * np.float32(self.scale) if self.scale else numbers

    def __str__(self):
        sides = "of unknown shape" if self.shape is None else [side or "any" for side in self.shape]
        return f"{self.dtype} {sides}".replace("'", "")


@dataclass
class ModelFile:
    """A suspect from a file: float32 [N, H, W, C] on [0, 1] -> [N, H', W', C].

    The order of its axes, its type, its range and its batch are read from the file; where the axes leave a choice, the
    first query decides.

    Attributes:
      path: of the file, for messages.
      entry, exit: the `Port`s.
      run: an array as `entry` has it -> the answer as `exit` has it.
      most: shape of the smallest query -> how many such it is asked at once (`watermark.limits.questions`), or None.
      pixels: the range it works on, or None for what the file says.
      notes: what was done to make question and answer fit, a line each.
      more: {what else the file may answer with, in words: a function that gives it}.
      layout, answers: the order of its axes and the range of its answers, once they are known.
    """

    path: object
    entry: Port
    exit: Port
    run: Callable
    most: Callable | None = None
    pixels: Pixels | None = None
    notes: list = field(default_factory=list)
    more: dict = field(default_factory=dict)
    layout: str | None = None
    answers: Pixels | None = None

    def on(self, pixels: Pixels) -> ModelFile:
        """The same suspect on another range of pixels; a SuspectError where its type does not hold them."""
        if self.entry.whole and not self.entry.scale:
            check_holds(pixels, np.iinfo(self.entry.dtype), f"{self.path} takes {self.entry.dtype}")
        return replace(self, pixels=pixels)

    def afresh(self) -> ModelFile:
        """The same with nothing known of its axes and answers yet: of other keys they may be others."""
        return replace(self, layout=None, answers=None, notes=[*self.notes])

    def others(self, channels: int) -> list[tuple[str, Callable]]:
        """What else the file may be, [(words, what makes it)]: with its axes in another order, or what `more` has."""
        other = partial(replace, self, answers=None, notes=[])
        orders = [order for order in self._layouts(channels) if order != self.layout]
        return [*((f"with its axes in the order {it}", partial(other, layout=it)) for it in orders), *self.more.items()]

    def sides(self, channels: int) -> tuple[int | None, int | None]:
        """(H, W) that the file asks for, None for a free one."""
        layout = self._layouts(channels)[0]
        shape = self.entry.shape or [None] * len(layout)
        return check_sides(tuple(shape[layout.index(axis)] for axis in "HW"), self.path)

    def at_once(self, _: tuple[int, int]) -> int:
        """How many images a query has, whatever its sides; 1 where that is free."""
        return self._batch(self.layout) or 1

    def __call__(self, images: np.ndarray) -> np.ndarray:
        images = np.asarray(images, np.float32)
        if self.layout is None:
            self.layout = self._find(images[:1])
        size, most = self._batch(self.layout), self._most(images, self.layout)
        return in_batches(lambda piece: self._ask(piece, self.layout), images, size, size is not None, most)

    def _most(self, images, layout):
        """How many images are put at once; a SuspectError where one query is too much."""
        shape = turned(images[:1], layout).shape
        if "N" in layout:
            shape = (self._batch(layout) or 1, *shape[1:])
        try:
            return self.most(shape) if self.most else None
        except Exception as error:
            raise self._fails(images.shape, error) from error

    def _batch(self, layout):
        """How many images a query must have, or None."""
        if "N" not in layout:
            return 1
        return self.entry.shape[0] if self.entry.shape else None

    def _layouts(self, channels):
        """The orders of axes that the declared shape allows, the likeliest first."""
        shape = self.entry.shape
        if shape is None:
            return LAYOUTS[4]
        found = [layout for layout in LAYOUTS.get(len(shape), ()) if allows(shape, layout, channels)]
        if not found:
            raise SuspectError(f"{self.path} takes {self.entry}, no images of {channels} channel(s); is the key for "
                               "this kind of model?")
        return sorted(found, key=lambda layout: "C" in layout and channels_in(shape, layout) != channels)

    def _find(self, image):
        """The order of axes, where the declared shape allows several the first that answers [1, H, W, C] sensibly."""
        layouts, errors = self._layouts(image.shape[3]), {}
        chosen = layouts[0]
        for layout in layouts if len(layouts) > 1 else ():
            try:
                self._most(image, layout)
                if like(self._ask(np.repeat(image, self._batch(layout) or 1, axis=0), layout), image):
                    chosen = layout
                    break
            except SuspectError as error:
                errors[layout] = error
        if chosen in errors:
            raise errors[chosen]
        if chosen != "NHWC":
            self.notes.append(f"this suspect's axes are in the order {chosen}; images are turned to it, answers back")
        return chosen

    def _ask(self, images, layout):
        numbers = (self.pixels or self.entry.pixels).of(images)
        try:
            answer = np.asarray(self.run(self.entry.encoded(turned(numbers, layout))))
        except Exception as error:
            raise self._fails(images.shape, error) from error
        answer = as_images(self.exit.decoded(answer), layout, images.shape)
        return (self.pixels or self._read_on(answer)).back(answer)

    def _fails(self, shape, error):
        return SuspectError(f"{self.path} takes {self.entry} and does not answer images of shape {list(shape)}: "
                            f"{brief(error, 200)}")

    def _read_on(self, answer):
        """The range that answers lie on by what the file says; the first one settles it, and `notes` say so."""
        if self.answers is None:
            asked = self.entry.pixels
            if self.exit.whole and not self.exit.scale:
                self.answers = self.exit.pixels
            elif not len(known := answer[np.isfinite(answer)]):
                return asked
            else:  # of a model that takes bytes, floats may be bytes or not; some pixels may lie anywhere, or nowhere
                spread = np.subtract(*np.quantile(known, (0.9, 0.1)))
                self.answers = UNIT if asked.high > WIDE >= spread else asked
            if {asked, self.answers} != {UNIT}:
                self.notes.append(f"this suspect takes {self.entry.dtype} and answers {self.exit.dtype}; "
                                  f"pixels are put on {asked}, its answers read on {self.answers}")
        return self.answers
