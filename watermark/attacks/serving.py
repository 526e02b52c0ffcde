"""Attacks on answers: the network is left as it is, or nearly; what it says changes by how it is served."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from watermark.attacks.base import Attack, Thief, attack, knob
from watermark.exporting import SUFFIXES, export
from watermark.inference import predictor
from watermark.suspects import load_suspect

FLOATS = 24  # bits from which float32 on [0, 1] is not rounded


@attack("round")
class Round(Attack):
    """Answers cut to [0, 1] and rounded, as a service does that returns 8-bit images."""

    bits: int = knob(help=f"of a pixel; {FLOATS} leaves the answers alone", low=1, high=FLOATS, cli=8, none=FLOATS)

    answers = True

    @property
    def label(self) -> str:
        """The attack in a few words, with the depth of the answers."""
        return f"answers in {self.bits} bits"

    def __call__(self, model: keras.Model, thief: Thief) -> Callable[[np.ndarray], np.ndarray]:
        """A callable that answers as `model` does, coarsely."""
        predict, top = predictor(model), 2.0**self.bits - 1.0
        if self.bits == FLOATS:
            return predict
        return lambda images: np.float32(np.round(np.clip(predict(images), 0.0, 1.0) * top) / top)


@attack("dim")
class Dim(Attack):
    """The network works on darker or brighter images, and its answers are brought back: K is another question then."""

    gain: float = knob(help="times the brightness that the network sees; 1 for as it is", low=0.01, high=100.0,
                       cli=0.8, none=1.0)

    answers = True

    @property
    def label(self) -> str:
        """The attack in a few words, with the gain."""
        return f"works on images {self.gain:g} times as bright"

    def __call__(self, model: keras.Model, thief: Thief) -> Callable[[np.ndarray], np.ndarray]:
        """A callable that answers as `model` does to images of another brightness, brought back."""
        predict, gain = predictor(model), np.float32(self.gain)
        return lambda images: predict(gain * images) / gain


@attack("bend")
class Bend(Attack):
    """The network works on images of another tone curve, x to the power of gamma, and its answers are bent back."""

    gamma: float = knob(help="the power; 1 for images as they are", low=0.05, high=20.0, cli=0.7, none=1.0)

    answers = True

    @property
    def label(self) -> str:
        """The attack in a few words, with gamma."""
        return f"works on images bent by γ = {self.gamma:g}"

    def __call__(self, model: keras.Model, thief: Thief) -> Callable[[np.ndarray], np.ndarray]:
        """A callable that answers as `model` does to bent images, bent back; what lies below 0 as what lies above."""
        predict, gamma = predictor(model), np.float32(self.gamma)

        def answer(images):
            bent = predict(np.clip(images, 0.0, 1.0) ** gamma)
            return np.copysign(np.abs(bent) ** (1 / gamma), bent)

        return answer


@attack("serve")
class Serve(Attack):
    """The network in another form, as a phone or a server runs it; int8 takes its ranges from noise."""

    form: str = knob(help=f"one of {', '.join(SUFFIXES)}", cli="tflite_int8", none="keras")

    answers = True

    @property
    def label(self) -> str:
        """The attack in a few words, with the form."""
        return f"served as {self.form}"

    def __call__(self, model: keras.Model, thief: Thief) -> Callable[[np.ndarray], np.ndarray]:
        """A callable that answers as the served form does."""
        folder = Path(tempfile.mkdtemp())
        path = folder / f"model{SUFFIXES.get(self.form, '')}"
        try:
            export(model, path, self.form)  # a ValueError for a form that it does not know
            suspect = load_suspect(path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        ask = predictor(suspect) if isinstance(suspect, keras.Model) else suspect

        def answer(images):
            return ask(images)

        weakref.finalize(answer, shutil.rmtree, folder, ignore_errors=True)  # a runtime may read it again
        return answer
