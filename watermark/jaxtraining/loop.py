"""One training, in chunks of steps that stay on the device; stopped, it goes on to the same weights."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import layers

from watermark.files import atomic_write, digest
from watermark.jaxtraining.aims import Aim, Step, Task
from watermark.jaxtraining.pools import Pool
from watermark.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class Course:
    """How a network is trained.

    Attributes:
      steps, batch_size, patch: steps; patches in a step; their side in pixels.
      learning_rate: the first step's; it falls to 0 along one cosine, or with the `schedule` "constant" stays.
      optimizer: key in `watermark.optimizers.OPTIMIZERS`.
      clip: bound on the gradient's global norm, or None.
      average: momentum of the running average of the weights; 0 for the last ones.
      growth: (share of the steps, factor) pairs; from that share on a batch is that many times `batch_size`.
      bfloat16: whether convolutions compute in bfloat16; weights, optimizer and loss are float32.
      seed: of the initial weights and of the batches.
    """

    steps: int
    batch_size: int
    patch: int
    learning_rate: float
    optimizer: str = "muon"
    clip: float | None = None
    average: float = 0.999
    growth: tuple = ()
    bfloat16: bool = True
    seed: int = 0
    schedule: str = "cosine"

    def batch(self, step: int) -> int:
        """Patches in the step after `step` ones."""
        return self.batch_size * max([factor for share, factor in self.growth if step >= round(share * self.steps)],
                                     default=1)

    def chunk(self, step: int, most: int, until: int) -> int:
        """How many of the next steps are taken in one go: up to where a batch grows, and to the step `until`."""
        ends = [until, *(round(share * self.steps) for share, _ in self.growth)]
        return min(most, *(end - step for end in ends if end > step))


@dataclass(frozen=True)
class Pace:
    """When a training is looked at, kept and stopped. None of it changes the weights.

    Attributes:
      chunk: steps in one dispatch.
      save, measure: seconds between two times of keeping the state, and of measuring.
      deadline: `time.monotonic()` that the next chunk may not be expected to pass.
    """

    chunk: int = 100
    save: float = 60.0
    measure: float = 30.0
    deadline: float = float("inf")


def in_bfloat16(model: keras.Model) -> keras.Model:
    """A copy of a residual network that computes in bfloat16 up to the last layer, which adds to the input, exactly.

    Its variables are float32 and of the same order; it is never saved.
    """
    last = model.outputs[0]

    def copy(layer):
        policy = "float32" if layer.output is last or isinstance(layer, layers.InputLayer) else "mixed_bfloat16"
        return type(layer).from_config(layer.get_config() | {"dtype": policy})

    return keras.models.clone_model(model, clone_function=copy)


class Training:
    """Model, optimizer and state of one training.

    Attributes:
      model: the network, float32; `weights` and `average` are its trainable variables' values so far.
      rows: the course so far: {"step", "seconds", "pixels", "loss", and what `measure` finds, of the last weights and
        as "<name>_average" of the average}.
    """

    def __init__(self, model: keras.Model, pool: Pool, course: Course, path: str | Path, aim: Aim = Task(),
                 about: object = None):
        self.model, self.pool, self.course, self.path, self.aim = model, pool, course, Path(path), aim
        self.identity = digest(asdict(course), *([about] if about else []))  # `about`: what else it is trained on
        falling = keras.optimizers.schedules.CosineDecay(course.learning_rate, course.steps)
        rate = course.learning_rate if course.schedule == "constant" else falling
        self.optimizer = OPTIMIZERS[course.optimizer](rate, global_clipnorm=course.clip)
        self.optimizer.build(model.trainable_variables)
        self.compute = in_bfloat16(model) if course.bfloat16 else model
        # Copies, for a chunk is given its state's memory and writes over it.
        weights, slots = ([jnp.array(v.value, copy=True) for v in group]
                          for group in (model.trainable_variables, self.optimizer.variables))
        self.state = weights, [jnp.array(w, copy=True) for w in weights], slots, aim.memory(weights)
        self.step, self.seconds, self.pixels, self.rows = 0, 0.0, 0, []
        # Of this training alone: what is compiled for the class would keep every training, and its weights, for good.
        self._chunk = jax.jit(lambda *given: self._steps(*given), static_argnums=(3, 4), donate_argnums=0)
        self._load()

    def run(self, measure: Callable[[keras.Model], dict], pace: Pace, until: int | None = None) -> bool:
        """Trains until the end, the step `until` or the deadline, and keeps the state; whether it came there."""
        until = self.course.steps if until is None else until
        saved = measured = now = time.monotonic()
        latest = 0.0  # seconds of a chunk
        while self.step < until and now + latest < pace.deadline:
            began, loss = now, self._advance(self.course.chunk(self.step, pace.chunk, until))
            now = time.monotonic()
            latest, self.seconds = now - began, self.seconds + now - began
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {self.step}; lower the learning rate")
            if self.step == until or now + latest >= pace.deadline or now - measured > pace.measure:
                self._look(loss, measure)
                measured = time.monotonic()
            if now - saved > pace.save:
                self.save()
                saved = time.monotonic()
            now = time.monotonic()
        self.save()
        return self.step >= until

    def _advance(self, count):
        batch = self.course.batch(self.step)
        self.state, losses = self._chunk(self.state, self.pool, jnp.int32(self.step), count, batch)
        self.step += count
        self.pixels += count * batch * self.course.patch**2
        return float(losses.mean())

    def _steps(self, state, pool, first, count, batch):
        key = jax.random.key(self.course.seed)

        def one(state, step):
            weights, average, slots, memory = state
            chance = Step(step, jax.random.fold_in(key, step), pool, batch, self.course.patch)
            loss, gradients, memory = self.aim.gradients(self._answers, weights, memory, chance)
            weights, slots = self.optimizer.stateless_apply(slots, gradients, weights)
            # At first the average is of all weights so far, or the initial ones would weigh for thousands of steps.
            momentum = jnp.minimum(self.course.average, (1.0 + step) / (10.0 + step))
            average = [momentum * a + (1.0 - momentum) * w for a, w in zip(average, weights, strict=True)]
            return (weights, average, slots, memory), loss

        return jax.lax.scan(one, state, first + jnp.arange(count))

    def _answers(self, weights, X):
        output, _ = self.compute.stateless_call(weights, [v.value for v in self.compute.non_trainable_variables], X)
        return output.astype(jnp.float32)

    def _look(self, loss, measure):
        found = measure(self.given(self.state[0]))
        found |= {f"{name}_average": value for name, value in measure(self.given(self.state[1])).items()}
        self.rows.append({"step": self.step, "seconds": round(self.seconds, 2), "pixels": self.pixels,
                          "loss": round(loss, 5)} | {name: round(value, 4) for name, value in found.items()})

    def given(self, weights: list) -> keras.Model:
        """The model, with these weights."""
        for variable, value in zip(self.model.trainable_variables, weights, strict=True):
            variable.assign(value)
        return self.model

    def finished(self) -> keras.Model:
        """The model with the average of its weights."""
        return self.given(self.state[1])

    def save(self) -> None:
        """Keeps the state in one file, whole or not at all."""
        about = {"course": self.identity, "step": self.step, "seconds": self.seconds,
                 "pixels": self.pixels, "rows": self.rows}
        arrays = {f"v{i}": np.asarray(value) for i, value in enumerate(jax.tree.leaves(self.state))}
        with atomic_write(self.path) as temporary:
            np.savez(temporary, about=np.array(json.dumps(about)), **arrays)

    def _load(self):
        if not self.path.exists():
            return
        leaves, structure = jax.tree.flatten(self.state)
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                values = [arrays[f"v{i}"] for i in range(len(leaves))]
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise OSError(f"{self.path} is damaged ({error}); delete it to start this training again") from error
        if about["course"] != self.identity or any(
                a.shape != b.shape for a, b in zip(values, leaves, strict=True)):
            raise OSError(f"{self.path} is of another course; pass the flags that it was begun with, or delete it")
        self.state = jax.tree.unflatten(structure, [jnp.array(value, copy=True) for value in values])
        self.step, self.seconds, self.pixels, self.rows = (about[k] for k in ("step", "seconds", "pixels", "rows"))
