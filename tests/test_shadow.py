"""A mark learnt beside a thief: his way is Adam's, his lives end, and the embedding resumes to the bit."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import embedding, keys, training
from watermark.lookahead import SHARE, SHORTEST, Shadow
from watermark.recipes import Embedding
from watermark.tasks import task_loss

SHADOW = Embedding(6, 4, 1e-3, shadow=4, rivals=0.5, decay=3.0, preserving=1e-4)


def _thief(M, X, Y, *_):
    return task_loss(M, X, Y), {}


def _lives(shadow, model, batch, steps):
    """The drift's age, way and moved weights after each step, with the model's own weights left alone."""
    weights = model.trainable_variables
    drift = shadow.drift(weights)
    step = tf.function(lambda: drift.ahead(model, weights, [], batch))
    for _ in range(steps):
        moved = [w.numpy() for w in step()]
        yield int(drift.age), [d.numpy() for d in drift.way], moved, int(drift.kind)


def test_the_way_is_that_of_adam(tiny_host, tiny_batches):
    batch = next(iter(tiny_batches(0)))
    shadow = Shadow(None, ((_thief, 1e-3, 1.0),), horizon=10_000)
    way = [row[1] for row in _lives(shadow, tiny_host, batch, 5)][-1]
    tuned, optimizer = training.clone(tiny_host), keras.optimizers.Adam(1e-3, epsilon=1e-8)
    for _ in range(5):
        with tf.GradientTape() as tape:
            total, _ = _thief(tuned, *batch)
        optimizer.apply_gradients(zip(tape.gradient(total, tuned.trainable_variables), tuned.trainable_variables,
                                      strict=True))
    for d, before, after in zip(way, tiny_host.get_weights(), tuned.get_weights(), strict=True):
        # Where a gradient is next to nothing, Adam's epsilon, which Keras weighs otherwise, decides.
        assert np.linalg.norm(d - (after - before)) < 0.03 * np.linalg.norm(d)
    assert max(np.abs(d).max() for d in way) > 3e-3


def test_a_life_ends_and_the_mark_is_learnt_on_the_way(tiny_host, tiny_batches):
    """Each life begins at the weights; the share of the way is 1, or less in `SHARE` of the steps."""
    shadow = Shadow(None, ((_thief, 1e-3, 0.6), (_thief, 1e-3, 0.4)), horizon=10)
    found = list(_lives(shadow, tiny_host, next(iter(tiny_batches(0))), 80))
    ages = [row[0] for row in found]
    starts = [i for i, age in enumerate(ages) if age == 1]
    lengths = np.diff(starts)
    assert len(starts) > 5 and lengths.min() >= 10 * SHORTEST and lengths.max() <= 10 and len(set(lengths)) > 2
    own = tiny_host.get_weights()[0]
    assert all(np.array_equal(found[i][2][0], own) for i in starts)
    shares = [np.abs(now[2][0] - own).max() / np.abs(before[1][0]).max()
              for before, now in zip(found, found[1:], strict=False) if now[0] > 1]
    assert max(shares) <= 1.0 + 1e-3
    assert np.mean(np.array(shares) < 0.999) == pytest.approx(SHARE, abs=0.15)
    assert {row[3] for row in found} == {0, 1}


def test_the_losses_by_hand(tiny_host, tiny_key, tiny_batches):
    """The task stays with the host's answers; the mark is alone; a rival adds another key to his task."""
    loss_fn, shadow = embedding.losses(tiny_host, tiny_key, dataclasses.replace(SHADOW, preserving=0.0))
    batch = next(iter(embedding.beside(tiny_batches)(2)))
    assert len(batch) == 5 and int(batch[-1]) == 2 and not np.allclose(batch[0], batch[2])
    assert float(loss_fn(tiny_host, *batch)[0]) == 0.0
    mark = np.sum((tiny_host(tiny_key.trigger[None]).numpy() - tiny_key.initial) ** 2)
    total, parts = shadow.loss_fn(tiny_host, *batch)
    assert float(parts["mark"]) == pytest.approx(mark, rel=1e-4)
    assert float(total) == pytest.approx(1e-3 * 3.0 ** (1 - 2 / 6) * mark, rel=1e-4)
    (tunes, slow, half), (rival, fast, other) = shadow.thieves
    plain = float(task_loss(tiny_host, batch[2], batch[3]))
    assert (slow, fast, half, other) == (1e-4, 3e-4, 0.5, 0.5)
    assert float(tunes(tiny_host, *batch, 7)[0]) == pytest.approx(plain, rel=1e-4)
    triggers, initials = keys.random_keys(tiny_key.kind, 8, "a rival's key")
    stolen = np.sum((tiny_host(triggers[7:]).numpy() - initials[7:]) ** 2)
    assert float(rival(tiny_host, *batch, 7)[0]) == pytest.approx(plain + 3e-3 * stolen, rel=1e-4)


def test_it_resumes_to_the_bit(tiny_host, tiny_key, tiny_batches, tmp_path):
    once = embedding.embed(tiny_host, tiny_key, tiny_batches, SHADOW)
    with pytest.raises(training.Stopped):
        embedding.embed(tiny_host, tiny_key, tiny_batches, SHADOW, folder=tmp_path, deadline=0.0)
    twice = embedding.embed(tiny_host, tiny_key, tiny_batches, SHADOW, folder=tmp_path)
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(once.get_weights()[0] - tiny_host.get_weights()[0]).max() > 1e-4


@pytest.mark.parametrize("change", [{"lookahead": 1e-3}, {"rivals": 1.5}, {"shadow": 0}])
def test_contradictions_are_refused(change):
    with pytest.raises(ValueError, match="shadow"):
        dataclasses.replace(SHADOW, **change)
