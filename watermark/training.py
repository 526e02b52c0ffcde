"""The one training loop: hosts, marks, attacks, visualizer and baselines differ in loss and batches only."""

import contextlib
import functools
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from watermark.errors import WatermarkError
from watermark.files import whole
from watermark.optimizers import OPTIMIZERS

BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"
# What tf.summary.scalar writes; it asks for the tensorboard package, which is needed to look only.
SCALARS = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})


@dataclass(frozen=True)
class Compute:
    """How a step is computed; the one place for precision, XLA and distribution.

    Attributes:
      precision: "bfloat16" lets oneDNN compute convolutions in bfloat16 on a CPU that has it, with float32 weights
        (twice as fast, PSNR within 0.01 dB); elsewhere it changes nothing. "float32" turns that off.
      xla: compiles the step with XLA. Slower on a CPU, meant for GPUs.
      strategy: a `tf.distribute.Strategy`, or None for one device. The model must have been made in its scope.
    """

    precision: str = "bfloat16"
    xla: bool = False
    strategy: tf.distribute.Strategy | None = None

    def __post_init__(self):
        if self.precision not in ("bfloat16", "float32"):
            raise ValueError(f"unknown precision {self.precision!r}; choose from bfloat16, float32")

    @contextlib.contextmanager
    def active(self):
        """Functions first called within run in this precision."""
        before = tf.config.optimizer.get_experimental_options().get(BFLOAT16, False)
        tf.config.optimizer.set_experimental_options({BFLOAT16: self.precision == "bfloat16"})
        try:
            yield
        finally:
            tf.config.optimizer.set_experimental_options({BFLOAT16: before})


class Stopped(WatermarkError, RuntimeError):
    """Training reached its deadline; the same call goes on where it stopped."""


def read_history(folder):
    """What `fit` returned, or would have so far, for that folder; empty if it never ran there."""
    return _State(folder, ()).load()


def clone(model):
    """A copy of `model` with weights of its own (`keras.models.clone_model` alone draws new ones)."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def fit(model, loss_fn, batches, *, steps, learning_rate, optimizer="adam", average=None, ahead=None, clip=None,
        until=None, folder=None, validate=None, validate_every=500, best=None, deadline=None, compute=Compute(),
        title="training"):
    """Trains `model` in place.

    Args:
      model: a `keras.Model`.
      loss_fn: (model, *batch) -> (total, {name: part}), scalars. The parts are what history and `until` speak of.
      batches: function of a step's number that gives a `tf.data.Dataset` beginning with that step's batch.
      steps: number of steps in all, those of an earlier, interrupted call included.
      learning_rate: a float or a Keras schedule.
      optimizer: key in `watermark.optimizers.OPTIMIZERS`.
      average: momentum of a running average of the weights, which `model` has at the end in place of the last ones;
        numbers from `validate` then come twice, those of the average as "<name>_average". None for no average.
      ahead: an `Ahead`, a further loss that is to outlive training on `loss_fn` alone; or None.
      clip: bound on the gradient's global norm, or None.
      until: {part: value}; training ends early once every part named is at or below its value.
      folder: where the state is kept, and TensorBoard's scalars; a call with the same folder goes on where the last
        one stopped, to the same weights as an uninterrupted run.
      validate: model -> {name: number}, called every `validate_every` steps and at the end.
      best: name of a number from `validate`; `folder/best.keras` is the model where it was highest so far.
      deadline: `time.monotonic()` after which no new step is taken, or None.

    Returns:
      The history, a list of {"step": i, part: value, ...}.

    Raises:
      Stopped: at the deadline, with the state saved.
      FloatingPointError: at the first part of the loss that is not finite; what `folder` holds is from before.
      OSError: when the state in `folder` is damaged or belongs to another model.
    """
    strategy = compute.strategy or tf.distribute.get_strategy()
    if ahead and strategy.num_replicas_in_sync > 1:
        raise ValueError("a loss taken ahead runs on one replica; train without a strategy")
    with strategy.scope():
        running = dict(use_ema=True, ema_momentum=average) if average else {}
        optimizer = OPTIMIZERS[optimizer](learning_rate, global_clipnorm=clip, **running)
        optimizer.build(model.trainable_variables)  # before tracing, or a resumed run has nothing to restore
    drift = _Drift(model.trainable_variables) if ahead else None
    state = _State(folder, [*model.variables, *optimizer.variables, *(drift.variables if drift else ())])
    history, shown = state.load(), {}
    first = history[-1]["step"] if history else 0
    step = train_step(model, loss_fn, optimizer, compute=compute, ahead=ahead, drift=drift)
    rows = iter(strategy.experimental_distribute_dataset(batches(first)) if compute.strategy else batches(first))
    with compute.active(), _progress(title, first, steps) as progress:
        for i in range(first + 1, steps + 1):
            parts = {name: float(value) for name, value in step(next(rows)).items()}
            _check_finite(parts, i)
            done = i == steps or bool(until) and all(parts[name] <= bound for name, bound in until.items())
            if validate and (done or i % validate_every == 0):
                parts |= validate(model)
                if average:
                    with _averaged(model, optimizer):
                        parts |= {f"{name}_average": value for name, value in validate(model).items()}
            shown |= parts
            progress(i, shown)
            if done or i % 50 == 0 or i % validate_every == 0:
                history.append({"step": i, **parts})
                state.save(history, now=done)
                if best in parts and parts[best] == max(row[best] for row in history if best in row):
                    state.keep("best.keras", model)
            if done:
                return history
            if deadline is not None and time.monotonic() > deadline:
                state.save(history + [{"step": i, **parts}], now=True)
                raise Stopped(f"{title}: stopped after step {i} of {steps}")
    return history


@contextlib.contextmanager
def _averaged(model, optimizer):
    """Within, `model` has the optimizer's running average of its weights."""
    last = model.get_weights()
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        model.set_weights(last)


@dataclass(frozen=True)
class Ahead:
    """A second loss, taken not at the weights but where training without it would lead.

    Adam on the first loss alone would move the weights along its running mean gradient over the root of its running
    square. The second loss is taken a random share of `reach` along that path, and its gradient there is applied
    here (to first order, as in Nichol et al., arXiv:1803.02999): what it asks for then outlives such training.

    Attributes:
      loss_fn: (model, *batch) -> (total, {name: part}).
      reach: longest step, in units of weights; Adam's fine-tuning moves a weight by its learning rate a step at most.
    """

    loss_fn: Callable
    reach: float


class _Drift:
    """Adam's direction for the first loss alone."""

    def __init__(self, weights):
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.mean, self.square = ([tf.Variable(tf.zeros_like(w), trainable=False) for w in weights] for _ in range(2))
        self.variables = [self.steps, *self.mean, *self.square]

    def ahead(self, weights, gradients, reach):
        """`weights` after this step's share of `reach`."""
        self.steps.assign_add(1)
        share = reach * tf.random.stateless_uniform([], tf.stack([self.steps, 0]), alg="philox")
        t = tf.cast(self.steps, tf.float32)
        moved = []
        for w, g, m, v in zip(weights, gradients, self.mean, self.square, strict=True):
            m.assign(0.9 * m + 0.1 * g)
            v.assign(0.99 * v + 0.01 * g * g)
            moved.append(w - share * (m / (1.0 - 0.9**t)) / (tf.sqrt(v / (1.0 - 0.99**t)) + 1e-8))
        return moved


def train_step(model, loss_fn, optimizer, *, compute=Compute(), ahead=None, drift=None):
    """One traced step of training: a function of a batch that updates `model` and returns the parts of the loss."""
    strategy = compute.strategy or tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    weights = model.trainable_variables

    def replica_step(*batch):
        with tf.GradientTape() as tape:
            total, parts = loss_fn(model, *batch)
            total /= replicas  # gradients are summed over replicas, each of which saw its share of the batch
        gradients = tape.gradient(total, weights)
        if ahead:
            moved = drift.ahead(weights, gradients, ahead.reach)
            with tf.GradientTape() as tape:
                tape.watch(moved)
                total, later = ahead.loss_fn(_with_weights(model, moved), *batch)
            gradients = [g + h for g, h in zip(gradients, tape.gradient(total, moved), strict=True)]
            parts |= later
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return parts

    @tf.function(jit_compile=compute.xla)
    def step(batch):
        if replicas == 1:
            return replica_step(*batch)
        parts = strategy.run(replica_step, args=batch)
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in parts.items()}

    return step


def _with_weights(model, weights):
    """`model` as a function, with other trainable weights."""
    rest = model.non_trainable_variables
    return lambda inputs, training=False: model.stateless_call(weights, rest, inputs, training=training)[0]


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
        task = bar.add_task(title, total=steps, completed=first, losses="")

        def update(step, parts):
            losses = "  ".join(f"{name} {value:.4g}" for name, value in parts.items())
            bar.update(task, completed=step, losses=losses)

        yield update


class _State:
    """Weights, optimizer and history in one file, written whole, beside TensorBoard's; without a folder, nothing."""

    EVERY = 60.0  # seconds; a save takes a few hundredths of one

    def __init__(self, folder, variables):
        self.folder = Path(folder) if folder else None
        self.variables = variables
        self.saved = time.monotonic()

    @functools.cached_property
    def events(self):  # made when first written to: `read_history` leaves no file behind
        return tf.summary.create_file_writer(str(self.folder))

    def load(self):
        path = self.folder and self.folder / "state.npz"
        if not path or not path.exists():
            return []
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                values = [arrays[f"v{i}"] for i in range(len(self.variables))]
                if any(value.shape != tuple(v.shape) for value, v in zip(values, self.variables, strict=True)):
                    raise ValueError("arrays of other shapes")
                history = json.loads(str(arrays["history"]))
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise OSError(f"{path} is damaged or of another model ({error}); "
                          "delete it to start this training again") from error
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return history

    def save(self, history, now):
        if not self.folder:
            return
        with self.events.as_default(step=history[-1]["step"]):
            for name, value in history[-1].items():
                tf.summary.write(name, float(value), metadata=SCALARS)
        if not now and time.monotonic() - self.saved < self.EVERY:
            return
        arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(self.variables)}
        with whole(self.folder / "state.npz") as temporary:
            np.savez(temporary, history=np.array(json.dumps(history)), **arrays)
        self.events.flush()
        self.saved = time.monotonic()

    def keep(self, name, model):
        if self.folder:
            with whole(self.folder / name) as temporary:
                model.save(temporary)
