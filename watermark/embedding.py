"""Embedding: the host learns M(K) = S while it goes on with its own task (section IV-B)."""

import contextlib

import keras
import tensorflow as tf

from watermark import inference
from watermark.hosts import fold_batch_norm
from watermark.keys import random_keys, with_verification
from watermark.ranges import bounds
from watermark.tasks import task_alone
from watermark.training import Ahead, Compute, clone, fit

STRENGTH = 1e-3  # lambda
POOL = 256  # other keys whose answers are held; enough that a host learns none of them by heart


def watermark_loss(host, key, strength=STRENGTH, copies=1):
    """The loss of Eqs. (4) to (6), as `training.fit` takes it.

    Args:
      host: the network that will be trained; it says in what form the trigger reaches it.
      key: a `Key`; its `initial` is the S of Eq. (6).
      strength: lambda, or a function of the step's number that gives it (the batches then end with that number).
      copies: how often the trigger stands in the batch, each time with the whole of lambda. Without batch norm,
        n copies are n lambda.
    """
    K, S = _pair(host, key)

    def loss_fn(M, X, Y, step=None):
        triggers = tf.repeat(K, copies, axis=0)
        if X.shape[1:] == K.shape[1:]:  # one batch is cheaper than two, and batch norm sees what the paper's saw
            outputs = M(tf.concat([X, triggers], 0), training=True)
            outputs, responses = tf.split(tf.cast(outputs, tf.float32), [tf.shape(X)[0], copies])
        else:
            outputs, responses = (tf.cast(M(images, training=True), tf.float32) for images in (X, triggers))
        B = tf.cast(tf.shape(X)[0], tf.float32)
        task = tf.reduce_sum(tf.square(outputs - Y)) / (2.0 * B)  # Eq. (5)
        mark = tf.reduce_sum(tf.square(responses - S)) / copies  # Eq. (6)
        return task + copies * _at(strength, step) * mark, {"task": task, "mark": mark}  # Eq. (4)

    return loss_fn


def _at(strength, step):
    return strength(step) if callable(strength) else strength


def _pair(M, key):
    """The trigger as the host gets it, [1, H, W, C], and what it can answer of S0, [1, H', W', C]."""
    K, S = inference.door(M, key.trigger[None], key.kind), key.initial[None]
    answer = tuple(M.compute_output_shape(K.shape))
    if answer != S.shape:
        raise ValueError(f"{M.name} answers the trigger {list(K.shape[1:])} with an image {list(answer[1:])}, the key "
                         f"wants {list(S.shape[1:])}; make a key for this kind of model")
    return tf.constant(K), tf.constant(S.clip(*bounds(M)))  # a sigmoid would run after what it never reaches


def embed(host, key, batches, *, steps, learning_rate=3e-4, optimizer="adam", strength=STRENGTH, boost=1.0, copies=1,
          fold=True, reach=0.0, others=0.0, until=None, validate=None, validate_every=500, folder=None,
          compute=Compute(), title="embedding", output=None):
    """Marks a copy of `host` with `key` (Eq. 7).

    Args:
      host: a trained Keras model, image to image.
      key: from `watermark.make_key`.
      batches: training batches of the host's own task, as from `Denoising.batches`.
      steps: most steps of training.
      learning_rate: the first step's; it falls to 0 along a cosine.
      optimizer: key in `watermark.optimizers.OPTIMIZERS`.
      strength: lambda of Eq. (4) at the end.
      boost: how many times that lambda is at the start; it falls geometrically. 1 for the paper's constant.
      copies: see `watermark_loss`.
      fold: whether batch norm is folded into the convolutions first (docs/recipe.md says why); a norm that cannot
        be is then frozen.
      reach: 0 for the paper's loss. Above 0, the mark's loss is taken up to `reach` ahead on the path of
        fine-tuning (`training.Ahead`), so that the mark outlives it; docs/recipe.md has the evidence.
      others: weight of a loss that holds the answers to other keys where the host had them, one key a step:
        others ||M(K'; theta) - M(K'; theta_0)||^2. 0 for the paper's loss, under which a network may learn what a
        trigger is instead of which one, and a stranger's key comes near; docs/recipe.md has the evidence.
      until: for instance {"mark": 0.2}: stop once the mark's loss, Eq. (6), is that small.
      folder: where an interrupted embedding resumes.
      output: name of the output that carries the mark, for a host with several.
      validate, validate_every: as for `training.fit`, whose history `folder` keeps.

    Returns:
      The marked model. Its verification image is `update_key(key, marked).verification`.
    """
    marked = fold_batch_norm(host) if fold else clone(host)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    if boost != 1.0 or others:
        batches = _numbered(batches)
    if boost != 1.0:
        final = strength
        strength = lambda step: final * boost ** (1.0 - tf.cast(step, tf.float32) / steps)  # noqa: E731
    M = inference.single_output(marked, output)
    mark = (_mark_alone if reach else watermark_loss)(M, key, strength, copies)
    if others:
        mark = _holding_others(M, key, others)(mark)
    with frozen_norms(M) if fold else contextlib.nullcontext():
        fit(M, task_alone if reach else mark, batches, steps=steps, learning_rate=schedule, optimizer=optimizer,
            ahead=Ahead(mark, reach) if reach else None, until=until, validate=validate,
            validate_every=validate_every, folder=folder, compute=compute, title=title)
    return marked


@contextlib.contextmanager
def frozen_norms(model):
    """Batch norms run in inference mode within: those that could not be folded must not see the trigger either."""
    norms = [layer for layer in model._flatten_layers()
             if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    for norm in norms:
        norm.trainable = False
    try:
        yield
    finally:
        for norm in norms:
            norm.trainable = True


def _numbered(batches):
    """The same batches, each with its step's number at the end."""

    def numbered(start):
        numbers = tf.data.Dataset.range(start, tf.int64.max)
        return tf.data.Dataset.zip((batches(start), numbers)).map(lambda batch, step: (*batch, step))

    return numbered


def _mark_alone(host, key, strength, copies):
    K, S = _pair(host, key)

    def loss_fn(M, X, Y, step=None):
        mark = tf.reduce_sum(tf.square(tf.cast(M(K, training=True), tf.float32) - S))  # Eq. (6)
        return copies * _at(strength, step) * mark, {"mark": mark}

    return loss_fn


def _holding_others(host, key, weight):
    """Adds to a loss function what `others` of `embed` is about; `host` is as it was before embedding."""
    triggers = inference.door(host, random_keys(key.kind, POOL, "another key")[0], key.kind)
    answers = tf.constant(host.predict(triggers, verbose=0), tf.float32)
    triggers = tf.constant(triggers)

    def hold(loss_fn):
        def holding(M, X, Y, step):
            total, parts = loss_fn(M, X, Y, step)
            i = step % POOL
            moved = tf.cast(M(triggers[i:i + 1], training=True), tf.float32) - answers[i:i + 1]
            others = tf.reduce_sum(tf.square(moved))
            return total + weight * others, parts | {"others": others}

        return holding

    return hold


def update_key(key, marked, output=None):
    """The key with S := M(K; theta*), the last step of embedding; `output` as for `embed`."""
    M = inference.single_output(marked, output)
    return with_verification(key, inference.as_suspect(M, key.kind)(key.trigger[None])[0])
