"""Attacks on answers: the network is left alone, what it says is coarsened on its way out."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from watermark.attacks.base import Attack, Thief, attack, knob
from watermark.inference import predictor

FLOATS = 24  # bits from which float32 on [0, 1] is not rounded


@attack("round")
class Round(Attack):
    """Answers cut to [0, 1] and rounded, as a service does that returns 8-bit images."""

    bits: int = knob(help=f"of a pixel; {FLOATS} leaves the answers alone", low=1, high=FLOATS, cli=8, none=FLOATS)

    answers = True

    @property
    def label(self) -> str:
        """With its depth."""
        return f"answers in {self.bits} bits"

    def __call__(self, model: keras.Model, thief: Thief) -> Callable[[np.ndarray], np.ndarray]:
        """A callable that answers as `model` does, coarsely."""
        predict, top = predictor(model), 2.0**self.bits - 1.0
        if self.bits == FLOATS:
            return predict
        return lambda images: np.float32(np.round(np.clip(predict(images), 0.0, 1.0) * top) / top)
