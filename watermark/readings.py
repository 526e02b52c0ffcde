"""How answers may be read that are not found to be what a key asks for as they stand; no further question is put."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from watermark.fitting import BYTES, SIGNED, moves
from watermark.fitting import moved as moved_back


class Reading(NamedTuple):
    """A way of reading answers.

    Attributes:
      words: what it is, in a clause.
      of: (what K - S' is taken from, [N, H', W', C]; answers of that shape) -> answers as they are read.
      shift: (down, right), pixels by which answers are taken to be moved.
    """

    words: str
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shift: tuple[int, int] = (0, 0)


PLAIN = Reading("", lambda bases, answers: answers)
# What a thief's own client undoes or never shows. A picture is cut to [0, 1] where it is shown, so that a pixel may be
# anything beyond wherever it is black or white already. DnCNN's natural answer is the noise, VDSR's what is added to
# the image. Read so, a network is another network, and what fresh keys have is read likewise.
OTHERWISE = (
    Reading("cut to [0, 1]", lambda bases, answers: np.clip(answers, 0.0, 1.0)),
    Reading("as what is taken from the question", lambda bases, answers: bases - answers),
    Reading("as what is added to the question", lambda bases, answers: bases + answers),
    Reading(f"as pixels on {BYTES}", lambda bases, answers: BYTES.back(answers)),
    Reading(f"as pixels on {SIGNED}", lambda bases, answers: SIGNED.back(answers)),
)


def shifted(reach: int) -> list[Reading]:
    """Answers moved by up to `reach` pixels in rows and columns."""
    def by(move):
        return Reading(f"moved by {move}, rows and columns", lambda bases, answers: moved_back(answers, move), move)

    return [by(move) for move in moves(reach)[1:]]
