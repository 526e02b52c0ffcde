"""What a training keeps on disk: weights, optimizer and history in one file, written whole, beside TensorBoard's."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from watermark.files import atomic_write, digest
from watermark.recipes import Recipe

# What tf.summary.scalar writes; it asks for the tensorboard package, which is needed to look only.
SCALARS = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})


def read_history(folder: str | Path) -> list[dict]:
    """What `training.fit` returned, or would have so far, for that folder; empty if it never ran there."""
    return State(folder, ()).load()


def seconds(folder: str | Path) -> float:
    """How long the training in a folder has computed, its resumes added up; 0 if it never ran there."""
    return next((row["seconds"] for row in read_history(folder)[::-1] if "seconds" in row), 0.0)


def identity(about: str, recipe: Recipe) -> str:
    """What tells a training from others: what it is about, and its recipe; how long it is only if its rate hangs on it.

    Fields at their defaults are left out, so that a new one leaves trainings that were stopped what they are.
    """
    told = {field.name: value for field in dataclasses.fields(recipe)
            if (value := getattr(recipe, field.name)) != field.default}
    falling = getattr(recipe, "decay", 1.0) != 1.0 or getattr(recipe, "projecting", 0.0)  # lambda, over all steps
    if recipe.schedule == "constant" and not falling:
        del told["steps"]
    return digest(about, told, length=64)


class State:
    """The state of one training; without a folder, nothing is kept.

    Attributes:
      folder: where it lies.
      variables: what is kept and set.
      about: what else tells this training from others, as by `identity`; "" for one that nothing is known of.
    """

    EVERY = 60.0  # seconds; a save takes a few hundredths of one

    def __init__(self, folder: str | Path | None, variables: list, about: str = ""):
        self.folder = Path(folder) if folder else None
        self.variables, self.about = variables, about
        self.saved = time.monotonic()

    @functools.cached_property
    def events(self) -> tf.summary.SummaryWriter:
        """TensorBoard's file, made when first written to: `read_history` leaves none behind."""
        return tf.summary.create_file_writer(str(self.folder))

    def load(self) -> list[dict]:
        """Sets the variables to what was kept and returns the history; an OSError if that cannot be."""
        path = self.folder and self.folder / "state.npz"
        if not path or not path.exists():
            return []
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                values = [arrays[f"v{i}"] for i in range(len(self.variables))]
                if values and f"v{len(values)}" in arrays:
                    raise ValueError("more arrays")
                if any(value.shape != tuple(v.shape) for value, v in zip(values, self.variables, strict=True)):
                    raise ValueError("arrays of other shapes")
                history = json.loads(str(arrays["history"]))
                about = str(arrays["about"]) if "about" in arrays else ""
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise OSError(f"{path} is damaged or of another model ({error}); "
                          "delete it to start this training again") from error
        if self.about and about and about != self.about:
            raise OSError(f"{path} is of another key, network or recipe; give this training a folder of its own, or "
                          "delete it")
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return history

    def save(self, history: list[dict], now: bool) -> None:
        """Keeps the state, unless it was kept a moment ago and need not be kept `now`."""
        if not self.folder:
            return
        with self.events.as_default(step=history[-1]["step"]):
            for name, value in history[-1].items():
                tf.summary.write(name, float(value), metadata=SCALARS)
        if not now and time.monotonic() - self.saved < self.EVERY:
            return
        arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(self.variables)}
        with atomic_write(self.folder / "state.npz") as temporary:
            np.savez(temporary, history=np.array(json.dumps(history)), about=np.array(self.about), **arrays)
        self.events.flush()
        self.saved = time.monotonic()

    def keep(self, name: str, model: keras.Model) -> None:
        """Writes a model beside the state."""
        if self.folder:
            with atomic_write(self.folder / name) as temporary:
                model.save(temporary)
