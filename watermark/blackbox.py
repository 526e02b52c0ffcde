"""A black box: a network, of whatever kind, as keys of one kind ask it, with all that makes question and answer fit."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from watermark.checks import check_one_input
from watermark.errors import brief
from watermark.fitting import Pixels, by, continued, lacking, multiples, padded, pads
from watermark.inference import predictor, upsampled
from watermark.keys import Key
from watermark.kinds import Kind
from watermark.ports import (
    PIXELS,
    RANGED,
    ModelFile,
    Port,
    SuspectError,
    check_sides,
    check_size,
    in_batches,
    in_numbers,
    together,
)

SAME = 1e-2  # of a pixel, on [0, 1] or of what it is: among others an answer may differ by rounding, in bytes too


def as_suspect(suspect: keras.Model | Callable, kind: Kind, *, pixels: Pixels | None = None,
               batch: int | None = None) -> Suspect:
    """A `Suspect` for a key's `kind`, from a Keras model or any callable [N, H, W, C] -> [N, H', W', C].

    `pixels` is the range it takes and answers in, by default [0, 1] or what integers say; `batch`, images a query.
    """
    if isinstance(suspect, Suspect):
        if suspect.kind == kind and not (pixels or batch):
            return suspect
        suspect, pixels, batch = suspect.source, pixels or suspect.pixels, batch or suspect.batch
    if not callable(suspect):
        raise TypeError(f"expected a Keras model or a callable on batches (load_suspect), got {type(suspect).__name__}")
    if isinstance(suspect, keras.Model) and not getattr(suspect, "inputs", None):
        suspect = functools.partial(suspect, training=False)  # a subclass can be asked, if not looked into
    if isinstance(suspect, keras.Model):
        check_one_input(suspect)
        if "int" in suspect.inputs[0].dtype:  # it would take all of [0, 1] for zeros
            ends = suspect.inputs[0], suspect.outputs[0]
            entry, answer = (Port(tuple(tensor.shape), np.dtype(tensor.dtype)) for tensor in ends)
            suspect = ModelFile(suspect.name, entry, answer, predictor(suspect))
    return Suspect(suspect.afresh() if isinstance(suspect, ModelFile) else suspect, kind, pixels, batch)


class _Way(NamedTuple):
    """How K is put: brought to the size of the answer first, or not; continued to `sides`, or by `around` on each."""

    upsampled: bool = False
    sides: tuple | None = None
    around: tuple | None = None


class Suspect:
    """A suspect as keys of one kind ask it: [N, H, W, C] on [0, 1] -> [N, H', W', C] of the answer's size.

    Where it takes another size than the key has, K is continued by reflection and the answer cut; where its answer is
    larger than asked for, as of networks that pad, the top left is taken; where it lacks edges, as of those that do
    not, or of a thief who cuts them off, K is continued on all sides. With a super-resolution key and a suspect that
    keeps the size, K is upsampled first, as by `model_input`. The first query shows which it is.

    Attributes:
      kind: of the keys.
      notes: what was done to make question and answer fit, a line each, complete after the first query.
      lack: pixels by which answers may be moved, where they lack edges or have a margin: on which side, nobody tells.
      margin: whether they have one, the top left of which is taken.
      alone: whether an image alone was answered otherwise than the same one among others; of functions of a user's,
        which are not asked anything alone, it is not known.
    """

    def __init__(self, suspect, kind, pixels=None, batch=None):
        self.source, self.kind, self.pixels, self.batch = suspect, kind, pixels, batch
        self._notes, self.lack, self.margin, self.alone = [], 0, False, False
        self.ask, self.sides, self.readable = suspect, (None, None), isinstance(suspect, keras.Model)
        if self.readable:
            self.ask, self.sides = predictor(suspect), check_sides(suspect.input_shape[1:3], suspect.name)
        elif hasattr(suspect, "sides"):
            self.sides, self.readable = suspect.sides(kind.channels), not self.watched
        if pixels and hasattr(suspect, "on"):
            self.source = self.ask = suspect.on(pixels)
        if pixels:
            self.note(getattr(suspect, "ranged", RANGED).format(pixels))
        self.way = None if self.readable or self.watched or any(self.sides) or kind.task == "sr" else _Way()

    @property
    def watched(self) -> bool:
        """Whether somebody sees which question comes when, as whoever runs a service does."""
        return getattr(self.source, "watched", False)

    @property
    def closed(self) -> bool:
        """Whether it takes no question but those that are written, as a folder of answers does."""
        return getattr(self.source, "closed", False)

    @property
    def free(self) -> bool:
        """Whether it takes images of any size, as far as is known."""
        return not any((*self.sides, *(self.way or _Way())[1:]))

    def ways(self) -> list[Suspect]:
        """The same as K may be put to it, where it has not answered yet: of super-resolution, in either size."""
        if self.way:
            return [self]
        return [self._but(way=_Way(upsampled)) for upsampled in ((False, True) if self.kind.scale > 1 else (False,))]

    def others(self) -> list[tuple[str, Callable]]:
        """What else a file may be, [(words, what makes that suspect)], see `ports.ModelFile.others`."""
        found = self.source.others(self.kind.channels) if hasattr(self.source, "others") else []
        return [(words, lambda make=make: Suspect(make(), self.kind, self.pixels, self.batch)) for words, make in found]

    def singly(self) -> Suspect:
        """The same, asked one by one."""
        return self._but(batch=1)

    def middle(self) -> Suspect:
        """The same, of whose answers, where they have a margin, the middle is taken."""
        return self._but(way=self.way._replace(around=(0, 0)))

    def _but(self, **changes):
        other = copy.copy(self)
        vars(other).update(changes, _notes=[])
        return other

    @property
    def notes(self) -> list[str]:
        """With what the suspect itself says of its questions."""
        return list(dict.fromkeys((*getattr(self.source, "notes", ()), *self._notes)))

    def note(self, *lines: str) -> None:
        """Adds to what was done to make question and answer fit."""
        self._notes += lines

    def __call__(self, images: np.ndarray) -> np.ndarray:
        images = np.asarray(images, np.float32)
        if self.way is None:
            self.way, first = self._find(images[:1])
            if self.way.sides:
                there = self.question(images).shape[1:3]
                self.note(f"this suspect takes {by(self.way.sides)}, not {by(there)}: the question is continued by "
                          "reflection, the answer cut")
            if self._grows(images, first):
                return self._answers(images)
            if len(images) == 1:
                return self._cut(first)
            if self.watched:  # no question is put twice to who may count them
                return together([self._cut(first), self._answers(images[1:])])
            answers, first = self._answers(images), self._cut(first)
            self.alone = self.batch != 1 and first.ndim == 4 and first.shape[1:] == answers.shape[1:] and not (
                np.allclose(first[0], answers[0], SAME, SAME, equal_nan=True))
            return answers
        return self._answers(images)

    def _answers(self, images):
        """What is answered to many, cut; where they are continued, in pieces, for a file may name any size."""
        question, sides = self.question(images), self.way.sides
        if not sides:
            answers = self.put(question)
            return self._cut(self.put(self.question(images)) if self._grows(images, answers) else answers)
        most = max(1, PIXELS // math.prod(sides))
        own = min(self.batch, most) if self.batch else self._at_once(sides)

        def cut(piece):
            return self._cut(self.put(piece, sides)).copy()  # or what was cut away would be kept

        return in_batches(cut, question, max(own, most - most % own))

    def _at_once(self, sides):
        """How many images the suspect takes a query; whole ones of these make a piece, or there would be more."""
        return (self.source.input_shape[0] or 1) if isinstance(self.source, keras.Model) else self.source.at_once(sides)

    def _grows(self, images, answers):
        """Whether answers lack edges, so that questions are continued on all sides from now on."""
        whole, fixed = images.shape[1:3] == self.kind.sides and answers.ndim == 4, self.way.sides
        if self.closed or self.way.around or not whole or (any(self.sides) and not fixed):
            return False
        wanted = self.kind.answer_shape[:2]
        own = wanted if self.way.upsampled else self.kind.sides
        if found := lacking(answers.shape[1:3], wanted, own, fixed):
            around, self.lack = found
            self.way = self.way._replace(around=around)
            self.note(f"the answers lack edges, {by(answers.shape[1:3])}: the question is continued by reflection, "
                      f"{by(around)} pixels on each side")
        return bool(found)

    def question(self, images: np.ndarray) -> np.ndarray:
        """Images as they are put, but for a size that is the only one: brought to size, continued on all sides."""
        way = self.way or _Way()
        question = upsampled(images, self.kind) if way.upsampled else images
        return continued(question, way.around) if way.around else question

    def put(self, question: np.ndarray, sides: tuple | None = None) -> np.ndarray:
        """The answers to a question as it is, continued to `sides`, as they come."""
        there = question.shape[1:3]
        question = padded(question, sides) if sides else question
        pixels = None if hasattr(self.source, "on") else self.pixels  # files and services bring their own there
        question = pixels.of(question) if pixels else question
        try:
            answer = in_numbers(in_batches(self.ask, question, self.batch) if self.batch else self.ask(question))
        except tf.errors.OpError as error:
            raise SuspectError(f"the suspect does not answer images of {by(there)} pixels: "
                               f"{brief(error, 300)}") from error
        return pixels.back(answer) if pixels else answer

    def _find(self, first):
        """(the `_Way`, the answer) for one image."""
        sides, answer = self._answered(first)
        asked = sides or first.shape[1:3]
        kept = all(side < 1.5 * own for side, own in zip(answer.shape[1:3], asked, strict=False))
        if self.kind.scale == 1 or not kept:
            return _Way(False, sides), answer
        sides, answer = self._answered(upsampled(first, self.kind))
        return _Way(True, sides), answer

    def _answered(self, question):
        """(sides, answer): in the size that the suspect takes; where that is not known, in the first that works."""
        there = question.shape[1:3]
        wanted = tuple(side or own for side, own in zip(self.sides, there, strict=True))
        if wanted != there and all(side >= own for side, own in zip(wanted, there, strict=True)):
            return wanted, self.put(question, wanted)
        try:
            return None, self.put(question)
        except SuspectError:
            for sides in multiples(there) if self.readable and self.sides == (None, None) else ():
                with contextlib.suppress(SuspectError):
                    return sides, self.put(question, sides)
            raise

    def _cut(self, answers):
        """The top left of answers that are larger than asked for, as padding makes them; the middle of grown ones."""
        height, width, _ = expected = self.kind.answer_shape
        own = (height, width) if self.way.upsampled else self.kind.sides
        over = [side - wanted for side, wanted in zip(answers.shape[1:3], expected, strict=False)]
        if answers.shape[1:] == expected or answers.ndim != 4 or min(over) < 0 or not (
                self.way.around or pads(answers.shape[1:3], (height, width), self.way.sides or own, own)):
            return check_size(answers, expected)
        top, left = (more // 2 for more in over) if self.way.around else (0, 0)
        if not (self.way.sides or self.way.around):
            self.margin, self.lack = True, max(self.lack, *over)
            self.note(f"this suspect answers with {by(answers.shape[1:3])}, not {by(expected)}: the top left is taken")
        return answers[:, top:top + height, left:left + width]


def answer(suspect: keras.Model | Callable, key: Key) -> np.ndarray:
    """M(K), [H', W', C]: what a suspect, as for `as_suspect`, answers to a key's trigger."""
    return as_suspect(suspect, key.kind)(key.trigger[None])[0]
