"""Embedding: the host learns M(K) = S while it goes on with its own task (section IV-B)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from watermark import blackbox, inference, metrics, thieves
from watermark.checks import check_batches, check_model
from watermark.errors import check_type
from watermark.forms import check_weights
from watermark.hosts.folding import fold_batch_norm, norms
from watermark.keys import Key, random_keys, with_verification
from watermark.kinds import Kind
from watermark.lookahead import Ahead, Lookahead, Perturbed, Projected, Shadow
from watermark.losses import Loss, Sum, alone, both, half_squared_error
from watermark.ranges import bounds
from watermark.recipes import Embedding, Recipe, changed, recommended
from watermark.tasks import task_alone, task_loss
from watermark.training import Batches, Run, clone, fit, identified

log = logging.getLogger(__name__)
APART = 1 << 40  # steps between the owner's batches and the thief's


def watermark_loss(host: keras.Model, key: Key, strength: float | Callable = Embedding.strength,
                   copies: int = 1) -> Loss:
    """The loss of Eqs. (4) to (6), as `training.fit` takes it.

    Args:
      host: the network that will be trained; it says in what form the trigger reaches it.
      key: a `Key`; its `initial` is the S of Eq. (6).
      strength: lambda, or a function of the step's number that gives it (the batches then end with that number).
      copies: how often the trigger stands in the batch; Eq. (6) is their average, as in the authors' public code.
        Without batch norm, whose statistics they weigh in, they change nothing.
    """
    K, S = pair(host, key)

    def loss_fn(M, X, Y, step=None):
        outputs, responses = both(M, X, tf.repeat(K, copies, axis=0))
        task = half_squared_error(outputs, Y)  # Eq. (5)
        mark = tf.reduce_sum(tf.square(responses - S)) / copies  # Eq. (6)
        return task + _at(strength, step) * mark, {"task": task, "mark": mark}  # Eq. (4)

    return loss_fn


def _at(strength, step):
    return strength(step) if callable(strength) else strength


def pair(M: keras.Model, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """The trigger as the host gets it, [1, H, W, C], and what it can answer of S0, [1, H', W', C]."""
    S = key.initial[None].clip(*bounds(M))  # a sigmoid would run after what it never reaches
    return fitted_triggers(M, key.trigger[None], key.kind), S


def fitted_triggers(M: keras.Model, triggers: np.ndarray, kind: Kind) -> np.ndarray:
    """Triggers [N, h, w, C] as the host gets them; a ValueError unless it answers with images of the kind's size."""
    K = inference.model_input(M, triggers, kind)
    answer = tuple(M.compute_output_shape(K.shape))[1:]
    if answer != kind.answer_shape:
        raise ValueError(f"{M.name} answers the trigger {list(K.shape[1:])} with an image {list(answer)}, the key "
                         f"wants {list(kind.answer_shape)}; make a key for this kind of model")
    return K


def embed(host: keras.Model, key: Key, batches: Batches, recipe: Embedding | None = None,
          run: Run = Run(title="embedding"), output: str | None = None, **changes) -> keras.Model:
    """Marks a copy of `host` with `key` (Eq. 7).

    >>> from watermark import data, hosts, tasks
    >>> host = hosts.dncnn(depth=3, filters=4)
    >>> key = watermark.make_key("a long random secret", owner="Ada", size=16)
    >>> photo = data.images("sample")["camera.png"]
    >>> batches = tasks.Denoising(sigma=25).batches([photo], seed=0, batch_size=2, size=16)
    >>> marked = watermark.embed(host, key, batches, steps=1)   # one of the recommended recipe's thousand
    >>> watermark.verify(marked, watermark.update_key(key, marked), null_keys=9).within_threshold
    True

    Args:
      host: a trained Keras model, image to image.
      key: from `watermark.make_key`.
      batches: training batches of the host's own task, as from `Denoising.batches`.
      recipe: how; by default the one that this project recommends for the key's task, `recipes.recommended`.
      run: where and under whose eyes, as for `training.fit`; `folder` is where an interrupted embedding resumes.
      output: name of the output that carries the mark, for a host with several.
      **changes: fields of the recipe or of the run to change, such as steps=2000, until={"mark": 0.2} (stop once the
        loss of Eq. (6) is that small), or folder="runs/mark".

    Returns:
      The marked model. Its verification image is `update_key(key, marked).verification`.

    Raises:
      TypeError: for a change that is a field of neither, and for a host, key or batches of another type.
      ValueError: when the key does not fit the host, or the batches do not; or the host cannot be trained.
      OSError: when the folder of the run has the state of another embedding, or is damaged.
      training.Stopped: at the deadline of the run.
    """
    check_model(host, "host")
    check_type("key", key, Key, "watermark.load_key reads a file")
    check_weights(host)
    recipe, run = changed((recipe or recommended(key.kind.task, key.kind.pixels), run), changes)
    check_batches(batches, inference.single_output(host, output))
    run = replace(run, about=identified(host, key.trigger, key.initial))
    return trained(host, lambda M: losses(M, key, recipe), arranged(batches, recipe), recipe, run, output)


def trained(host: keras.Model, losses_for: Callable[[keras.Model], tuple[Loss, Ahead | None]], batches: Batches,
            recipe: Recipe, run: Run, output: str | None = None) -> keras.Model:
    """A copy of `host`, folded where the recipe says so, trained on what `losses_for` gives for it, as by `losses`."""
    with run.compute.placement.scope():
        marked = fold_batch_norm(host) if recipe.fold else clone(host)
    M = inference.single_output(marked, output)
    loss_fn, ahead = losses_for(M)
    with frozen_norms(M) if recipe.fold else contextlib.nullcontext():
        fit(M, loss_fn, batches, recipe, run, ahead)
    return marked


def arranged(batches: Batches, recipe: Embedding) -> Batches:
    """The batches as the losses of a recipe take them: with a thief's beside a shadow, with numbers where it counts."""
    if recipe.shadow:
        return beside(batches)
    return numbered(batches) if recipe.decay != 1.0 or recipe.preserving else batches


def losses(host: keras.Model, key: Key, recipe: Embedding) -> tuple[Loss, Ahead | None]:
    """What `host` is trained on with a recipe, and what ahead of that; batches end with the number of their step."""
    strength = _falling(recipe) if recipe.decay != 1.0 else recipe.strength
    preserved = (_preserving(host, key, recipe),) if recipe.preserving else ()

    def hold(loss_fn):
        return Sum((loss_fn, *preserved)) if preserved else loss_fn

    if recipe.shadow:
        shadow = Shadow(_mark_alone(host, key, strength), thieves.thieves(host, key, recipe), recipe.shadow)
        return hold(_towards(clone(host))), _guarded(shadow, recipe)
    if recipe.lookahead:
        return task_alone, _guarded(Lookahead(hold(_mark_alone(host, key, strength)), recipe.lookahead), recipe)
    return hold(watermark_loss(host, key, strength, recipe.copies)), None


def _guarded(ahead, recipe):
    if recipe.perturbing:
        ahead = Perturbed(ahead, recipe.perturbing)
    return Projected(ahead, round((1.0 - recipe.projecting) * recipe.steps)) if recipe.projecting else ahead


def _falling(recipe):
    """lambda as a function of the step: `decay` times as high at first, falling geometrically."""
    return lambda step: recipe.strength * recipe.decay ** (1.0 - tf.cast(step, tf.float32) / recipe.steps)


@contextlib.contextmanager
def frozen_norms(model: keras.Model) -> Iterator[None]:
    """Batch norms run in inference mode within: those that could not be folded must not see the trigger either."""
    learning = [norm for norm in norms(model) if norm.trainable]
    for norm in learning:
        norm.trainable = False
    try:
        yield
    finally:
        for norm in learning:
            norm.trainable = True


def numbered(batches: Batches) -> Batches:
    """The same batches, each with its step's number at the end."""

    def with_numbers(start):
        numbers = tf.data.Dataset.range(start, tf.int64.max)
        return tf.data.Dataset.zip((batches(start), numbers)).map(lambda batch, step: (*batch, step))

    return with_numbers


def beside(batches: Batches) -> Batches:
    """Batches for a shadow: the owner's, the thief's and the step's number."""

    def pairs(start):
        return tf.data.Dataset.zip((batches(start), batches(start + APART))).map(lambda own, thief: (*own, *thief))

    return numbered(pairs)


def _mark_alone(host, key, strength):
    K, S = pair(host, key)

    def loss_fn(M, *batch):
        mark = tf.reduce_sum(tf.square(alone(M, K) - S))  # Eq. (6)
        return _at(strength, batch[-1]) * mark, {"mark": mark}

    return loss_fn


def _towards(host):
    """Eq. (5) with what `host` answers in place of the clean images: none of their noise pulls at the weights."""

    def loss_fn(M, X, *batch):
        task = task_loss(M, X, tf.stop_gradient(tf.cast(host(X, training=False), tf.float32)))
        return task, {"task": task}

    return loss_fn


def _preserving(host, key, recipe):
    """What `preserving` of a recipe is about; `host` is as it was before embedding."""
    triggers = others(host, key, recipe)
    answers = tf.constant(inference.predictor(host)(triggers), tf.float32)
    triggers = tf.constant(triggers)

    def loss_fn(M, *batch):
        i = batch[-1] % len(triggers)
        moved = alone(M, triggers[i:i + 1]) - answers[i:i + 1]
        total = tf.reduce_sum(tf.square(moved))
        return recipe.preserving * total, {"others": total}

    return loss_fn


def others(host: keras.Model, key: Key, recipe: Embedding) -> np.ndarray:
    """The triggers [N, H, W, C], as the host gets them, whose answers are held."""
    count = min(thieves.pool(key), recipe.steps)  # one a step
    keys = near_triggers(key, recipe.near, count) if recipe.near else random_keys(key.kind, count, "another key")[0]
    return inference.model_input(host, keys, key.kind)


def near_triggers(key: Key, deviation: float, count: int) -> np.ndarray:
    """`count` triggers [count, h, w, C] on [0, 1]: the key's with white Gaussian noise on it, always the same."""
    noise = np.random.default_rng(0).standard_normal((count, *key.trigger.shape), np.float32)
    return np.clip(key.trigger + np.float32(deviation) * noise, 0.0, 1.0)


def update_key(key: Key, marked: keras.Model, output: str | None = None) -> Key:
    """The key with S := M(K; theta*), the last step of embedding; `output` as for `embed`.

    >>> from watermark import hosts
    >>> model, key = hosts.dncnn(depth=3, filters=4), watermark.make_key(0, size=16)
    >>> watermark.update_key(key, model).verification.shape
    (16, 16, 1)
    """
    check_type("key", key, Key, "watermark.load_key reads a file")
    check_type("marked", marked, keras.Model, "watermark.models.load_model reads a file")
    M = inference.single_output(marked, output)
    S = blackbox.answer(M, key)
    if metrics.distance(S, key.initial) > metrics.threshold(S.size):
        log.warning("what %s answers to K is far from S0: the mark has not taken, or that is not the model of this key",
                    marked.name)
    return with_verification(key, S)
