"""The one training loop: hosts, marks, attacks, visualizer and baselines differ in loss and batches only."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from watermark.checks import begun, check_room, drawn
from watermark.compute import Compute
from watermark.errors import Interrupted, Stopped
from watermark.lookahead import Ahead, Drift, with_weights
from watermark.losses import MEANINGS, Loss, gradients_of
from watermark.optimizers import OPTIMIZERS
from watermark.quiet import Lines
from watermark.recipes import Recipe
from watermark.states import State, identity

Batches = Callable[[int], tf.data.Dataset]  # number of the first step -> an endless data set


@dataclass(frozen=True)
class Run:
    """Where and under whose eyes a training runs. Of these only `compute` changes the weights, and stopping early.

    Attributes:
      folder: where the state is kept, and TensorBoard's scalars; a call with the same folder goes on where the last
        one stopped, to the same weights as an uninterrupted run.
      compute: precision and so on.
      title: of the progress bar.
      validate: model -> {name: number}, called every `validate_every` steps and at the end.
      validate_every: steps.
      best: name of a number from `validate`; `folder/best.keras` is the model where it was highest so far.
      until: {part: value}; training ends early once every part of the loss named is at or below its value.
      deadline: `time.monotonic()` after which no new step is taken, or None.
      about: what tells this training from others of such a model, as by `identified`; a folder of another is refused.
    """

    folder: str | Path | None = None
    compute: Compute = Compute()
    title: str = "training"
    validate: Callable[[keras.Model], Mapping[str, float]] | None = None
    validate_every: int = 500
    best: str | None = None
    until: Mapping[str, float] | None = None
    deadline: float | None = None
    about: str = ""


def clone(model: keras.Model) -> keras.Model:
    """A copy of `model` with weights of its own (`keras.models.clone_model` alone draws new ones)."""
    copy = keras.models.clone_model(model, recursive=True, clone_function=_copied)
    copy.set_weights(model.get_weights())
    return copy


def _copied(layer):
    if isinstance(layer, keras.layers.Lambda) and not layer.weights:  # Keras copies no code; it is shared
        return layer
    return type(layer).from_config(layer.get_config())


def identified(model: keras.Model, *arrays: np.ndarray) -> str:
    """SHA-256 of a model's weights and of arrays: the `Run.about` of a training that starts from them."""
    h = hashlib.sha256()
    for array in (*model.get_weights(), *arrays):
        h.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return h.hexdigest()


def fit(model: keras.Model, loss_fn: Loss, batches: Batches, recipe: Recipe, run: Run = Run(),
        lookahead: Ahead | None = None) -> list[dict]:
    """Trains `model` in place.

    Args:
      model: a `keras.Model`.
      loss_fn: (model, *batch) -> (total, {name: part}), scalars. The parts are what history and `until` speak of.
      batches: function of a step's number that gives a `tf.data.Dataset` beginning with that step's batch.
      recipe: steps (those of an earlier, interrupted call included), learning rate, optimizer and so on. With an
        average of the weights, `model` has it at the end, and numbers from `validate` come twice, those of the
        average as "<name>_average".
      run: folder, compute, title, validation, deadline.
      lookahead: a further loss that is to outlive training on `loss_fn` alone; or None.

    Returns:
      The history, a list of {"step": i, "seconds": of computing so far, part: value, ...}.

    Raises:
      Stopped: at the deadline, with the state saved.
      Interrupted: after Ctrl-C, with the state saved.
      MemoryError: a step would keep more than the machine has.
      FloatingPointError: at the first part of the loss that is not finite; what `folder` holds is from before.
      OSError: when the state in `folder` is damaged, or of another model or recipe, or of what `run` is not about.
    """
    trainer = _Trainer(model, loss_fn, recipe, run.compute, lookahead)
    state = State(run.folder, trainer.variables, identity(run.about, recipe))
    history, shown = state.load(), {}
    if history and (history[-1]["step"] >= recipe.steps or _reached(run.until, history[-1])):
        trainer.finish()
        return history
    i, before = (history[-1]["step"], history[-1].get("seconds", 0.0)) if history else (0, 0.0)
    with trainer.running(batches, i), _progress(run.title, i, recipe.steps) as progress, _ctrl_c() as asked:
        began, done, stop = time.monotonic(), False, False
        while not done and not stop:
            for parts in drawn(trainer.advance, _chunk(i, recipe.steps, run), i, recipe.steps):
                i += 1
                _check_finite(parts, i)
            done = i == recipe.steps or _reached(run.until, parts)
            stop = bool(asked) or _late(run.deadline)
            if looked := run.validate is not None and (done or i % run.validate_every == 0):
                parts |= trainer.validated(run.validate)
            shown |= parts
            progress(i, shown)
            if done or looked or stop or i % 50 == 0:
                history.append({"step": i, "seconds": round(before + time.monotonic() - began, 3), **parts})
                # Before the state: after a kill in between, what is not in the history yet is looked at once more.
                if run.best in parts and parts[run.best] == max(row[run.best] for row in history if run.best in row):
                    state.keep("best.keras", model)
                state.save(history, now=bool(done or stop))
    if asked or not done:  # Ctrl-C may come in the last step, or as its model is looked at
        raise (Interrupted if asked else Stopped)(f"{run.title}: stopped after step {i} of {recipe.steps}")
    trainer.finish()
    return history


def _chunk(i, steps, run):
    """How many steps may be taken before something is to be looked at: chunks end where rows are kept."""
    ends = [run.validate_every] if run.validate else []
    return min(run.compute.steps, steps - i, *(every - i % every for every in (50, *ends)))


def _reached(until, parts):
    if not until:
        return False
    if missing := set(until) - set(parts):
        raise ValueError(f"until: the loss has no part {min(missing)!r}; choose from {', '.join(parts)}")
    return all(parts[name] <= bound for name, bound in until.items())


def _late(deadline):
    return deadline is not None and time.monotonic() > deadline


@contextlib.contextmanager
def _ctrl_c():
    """Within, Ctrl-C fills the list that is yielded, so that no step is cut in two; a second one ends at once."""
    asked = []
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # in the background, where Ctrl-C is meant for others
    if deaf or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class _Trainer:
    """Model, optimizer and the traced step."""

    def __init__(self, model, loss_fn, recipe, compute, lookahead):
        if lookahead and compute.placement.num_replicas_in_sync > 1:
            raise ValueError("a loss taken ahead runs on one replica; train without a strategy")
        running = dict(use_ema=True, ema_momentum=recipe.average) if recipe.average else {}
        with compute.placement.scope():
            self.optimizer = OPTIMIZERS[recipe.optimizer](_rate(recipe), global_clipnorm=recipe.clip, **running)
            self.optimizer.build(model.trainable_variables)  # before tracing, or a resumed run has nothing to restore
        self.model, self.compute, self.average = model, compute, recipe.average
        self.drift = lookahead.drift(model.trainable_variables) if lookahead else None
        self.step = train_step(model, loss_fn, self.optimizer, compute=compute, lookahead=lookahead, drift=self.drift)
        self.names = []
        self.chunk = tf.function(self._chunk)

    @property
    def variables(self):
        return [*self.model.variables, *self.optimizer.variables, *(self.drift.variables if self.drift else ())]

    @contextlib.contextmanager
    def running(self, batches, first):
        data = begun(batches, first)
        check_room(self.model, data)
        if self.compute.strategy:
            data = self.compute.strategy.experimental_distribute_dataset(data)
        self.rows = iter(data)
        with self.compute.active():
            yield

    def advance(self, count):
        """Takes `count` steps; a list of the parts of their losses."""
        if self.compute.steps == 1:
            parts = self.step(next(self.rows))
            return [{name: float(value) for name, value in parts.items()}]
        values = np.asarray(self.chunk(self.rows, tf.constant(count)))
        return [dict(zip(self.names, map(float, row), strict=True)) for row in values]

    def _chunk(self, rows, count):
        found = tf.TensorArray(tf.float32, size=count)
        for i in tf.range(count):
            parts = self.step(next(rows))
            found = found.write(i, self._row(parts))
        return found.stack()

    @tf.autograph.experimental.do_not_convert
    def _row(self, parts):
        self.names = list(parts)
        return tf.stack([tf.cast(value, tf.float32) for value in parts.values()])

    def validated(self, validate):
        found = dict(validate(self.model))
        if self.average:
            last = self.model.get_weights()
            self.finish()
            found |= {f"{name}_average": value for name, value in validate(self.model).items()}
            self.model.set_weights(last)
        return found

    def finish(self):
        """Gives the model the average of its weights, where there is one."""
        if self.average:
            self.optimizer.finalize_variable_values(self.model.trainable_variables)


def _rate(recipe):
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps)


def train_step(model: keras.Model, loss_fn: Loss, optimizer: keras.Optimizer, *, compute: Compute = Compute(),
               lookahead: Ahead | None = None, drift: Drift | None = None) -> Callable:
    """One traced step of training: a function of a batch that updates `model` and returns the parts of the loss."""
    strategy = compute.placement
    replicas = strategy.num_replicas_in_sync
    weights = model.trainable_variables

    def replica_step(*batch):
        # Gradients are summed over replicas, each of which saw its share of the batch.
        gradients, parts = gradients_of(loss_fn, model, weights, batch, 1.0 / replicas)
        if lookahead:
            moved = drift.ahead(model, weights, gradients, batch)
            later, more = gradients_of(lookahead.loss_fn, with_weights(model, moved), moved, batch)
            gradients, parts = drift.joined(gradients, later), parts | more
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return parts

    @tf.function(jit_compile=compute.xla)
    def step(batch):
        if replicas == 1:
            return replica_step(*batch)
        parts = strategy.run(replica_step, args=batch)
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in parts.items()}

    return step


def _check_finite(parts, step):
    for name, value in parts.items():
        if not np.isfinite(value):
            raise FloatingPointError(
                f"the {name} loss is {value} at step {step}; lower the learning rate or look for NaN in the data")


@contextlib.contextmanager
def _progress(title, first, steps):
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[losses]}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, explained = bar.add_task(title, total=steps, completed=first, losses=""), set()
        lines = Lines(title, "step", steps, first)

        def update(step, parts):
            new = [name for name in MEANINGS if name in parts and name not in explained]
            explained.update(new)
            for name in new if console.is_terminal else ():
                bar.console.print(f"  {name}: {MEANINGS[name]}", highlight=False)
            losses = "  ".join(f"{name} {value:.4g}" for name, value in parts.items())
            bar.update(task, completed=step, losses=losses)
            if not console.is_terminal:
                lines.at(step, losses)

        yield update
