"""A mark learnt beside a thief, against the worst nearby or held by projection: by hand, and resumed to the bit."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import embedding, keys, thieves, training
from watermark.lookahead import Lookahead, Perturbed, Projected, Shadow
from watermark.recipes import ON_THE_WAY, SHORTEST, Embedding
from watermark.tasks import task_loss

SHADOW = Embedding(6, 4, 1e-3, shadow=4, rivals=0.5, decay=3.0, preserving=1e-4)
ALL = dataclasses.replace(SHADOW, textures=0.4, near=0.05, perturbing=0.05, projecting=0.5)


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
    """Each life begins at the weights; the share of the way is 1, or less in `ON_THE_WAY` of the steps."""
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
    assert np.mean(np.array(shares) < 0.999) == pytest.approx(ON_THE_WAY, abs=0.15)
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


def test_textures_have_the_spectrum_and_the_noise(tiny_batches):
    """Oracle: a filter of gain 1, real and the same for both; its phases are others every step."""
    X, Y = next(iter(tiny_batches(0)))
    seen = [[image.numpy() for image in thieves.textured(X, Y, tf.constant(step, tf.int64))] for step in (1, 1, 2)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert np.abs(seen[0][1] - seen[2][1]).max() > 0.05
    for before, after in zip((X.numpy(), Y.numpy()), seen[0], strict=True):
        spectra = [np.abs(np.fft.fft2(images, axes=(1, 2))) for images in (before, after)]
        np.testing.assert_allclose(*spectra, atol=2e-4)
        np.testing.assert_allclose(before.mean((1, 2)), after.mean((1, 2)), atol=1e-5)
        assert np.abs(before - after).max() > 0.05
    noise = [np.mean((a - b) ** 2) for a, b in ((X, Y), seen[0])]
    assert noise[0] == pytest.approx(noise[1], rel=1e-3)
    with pytest.raises(ValueError, match=r"textures: expected .* got \[6, 12, 1\] for \[12, 12, 1\]"):
        thieves.textured(X, Y[:, :6], tf.constant(1, tf.int64))


def test_a_third_kind_of_thief_fine_tunes_on_textures(tiny_host, tiny_key, tiny_batches):
    found = thieves.thieves(tiny_host, tiny_key, dataclasses.replace(SHADOW, textures=0.4))
    assert [share for _, _, share in found] == pytest.approx([0.1, 0.4, 0.5])
    assert [rate for _, rate, _ in found] == [1e-4, 1e-4, 3e-4]
    batch = next(iter(embedding.beside(tiny_batches)(2)))
    X, Y = thieves.textured(batch[2], batch[3], batch[-1])
    assert float(found[1][0](tiny_host, *batch, 7)[0]) == pytest.approx(float(task_loss(tiny_host, X, Y)), rel=1e-4)
    assert len(thieves.thieves(tiny_host, tiny_key, dataclasses.replace(SHADOW, rivals=0.0, textures=1.0))) == 1


def test_other_keys_may_be_this_one_with_noise(tiny_host, tiny_key, tiny_batches):
    near = embedding.near_triggers(tiny_key, 0.1, 200)
    assert near.min() >= 0.0 and near.max() <= 1.0 and len(np.unique(near[:, 0, 0, 0])) > 50
    inside = np.abs(tiny_key.trigger - 0.5) < 0.1
    assert np.std((near - tiny_key.trigger)[:, inside]) == pytest.approx(0.1, rel=0.05)
    held, _ = embedding.losses(tiny_host, tiny_key, dataclasses.replace(SHADOW, near=0.1))
    moved = training.clone(tiny_host)
    moved.set_weights([w * 1.1 for w in tiny_host.get_weights()])
    batch = next(iter(embedding.beside(tiny_batches)(3)))
    expected = np.sum((moved(near[3:4]).numpy() - tiny_host(near[3:4]).numpy()) ** 2)
    assert float(held.terms[1](moved, *batch)[1]["others"]) == pytest.approx(expected, rel=1e-3)


def _mark(M, X, Y, *_):
    return tf.reduce_sum(tf.square(M(X[:1]) - 2.0 * Y[:1])), {}


def _gradient(loss_fn, model, batch):
    with tf.GradientTape() as tape:
        total, _ = loss_fn(model, *batch)
    return [g.numpy() for g in tape.gradient(total, model.trainable_variables)]


def test_the_worst_nearby_is_along_the_gradient(tiny_host, tiny_batches):
    """By hand: W + a size |W| G / |G|, weight by weight, a from U(0, 1); the loss is higher there."""
    batch, model = next(iter(tiny_batches(0))), training.clone(tiny_host)
    drift = Perturbed(Lookahead(_mark, 0.0), 0.05).drift(model.trainable_variables)
    zero, against = [tf.zeros_like(w) for w in model.trainable_variables], _gradient(_mark, model, batch)
    before, shares = float(_mark(model, *batch)[0]), []
    for _ in range(20):
        there = drift.ahead(model, model.trainable_variables, zero, batch)
        steps = [(moved - w).numpy() for moved, w in zip(there, model.trainable_variables, strict=True)]
        norms = [(np.linalg.norm(s), np.linalg.norm(w)) for s, w in zip(steps, model.get_weights(), strict=True)]
        found = [moved / norm for moved, norm in norms if norm]
        assert np.ptp(found) < 1e-4 and not any(moved for moved, norm in norms if not norm)
        shares.append(found[0])
        assert all(np.vdot(s, g) > 0.999 * np.linalg.norm(s) * np.linalg.norm(g)
                   for s, g in zip(steps, against, strict=True) if np.any(s))
    assert 0.0 < min(shares) < 0.02 and 0.03 < max(shares) <= 0.05
    model.set_weights([moved.numpy() for moved in there])
    assert float(_mark(model, *batch)[0]) > before


def test_the_task_alone_does_not_harm_the_mark(tiny_host):
    """By hand: the sum at first; then g where g h >= 0, and otherwise g without its part along h."""
    weights = [tf.Variable(w) for w in ([1.0, 2.0], [[3.0]])]
    drift = Projected(Lookahead(None, 0.0), 1).drift(weights)
    g, h = [tf.constant([1.0, 0.0]), tf.constant([[-3.0]])], [tf.constant([1.0, 1.0]), tf.constant([[1.0]])]

    def joined(g):
        return np.concatenate([np.ravel(value) for value in drift.joined(g, h)])

    drift.ahead(tiny_host, weights, g, ())
    np.testing.assert_allclose(joined(g), [2.0, 1.0, -2.0])
    drift.ahead(tiny_host, weights, g, ())
    np.testing.assert_allclose(joined(g), [1 + 2 / 3, 2 / 3, -3 + 2 / 3], rtol=1e-6)
    assert joined(g) @ [1, 1, 1] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(joined([g[0], -g[1]]), [1.0, 0.0, 3.0])


def test_the_mark_is_trained_in_all_but_the_last_share_of_the_steps(tiny_host, tiny_key):
    """By hand: in 6 of 8."""
    recipe = dataclasses.replace(SHADOW, steps=8, projecting=0.25)
    _, ahead = embedding.losses(tiny_host, tiny_key, recipe)
    assert isinstance(ahead, Projected) and ahead.after == 6


def test_the_path_ahead_is_adams_of_a_short_memory():
    """Oracle: Adam in NumPy, whose squares are remembered for 100 steps; gradients of five sizes."""
    rng = np.random.default_rng(0)
    weights = [tf.Variable(tf.zeros(shape)) for shape in ((3, 2), (4,))]
    drift = Lookahead(None, 0.1).drift(weights)
    mean, square = ([np.zeros(w.shape) for w in weights] for _ in range(2))
    for t, size in enumerate((1.0, 0.1, 5.0, 0.02, 0.5), 1):
        gradients = [size * rng.normal(size=w.shape) for w in weights]
        there = drift.ahead(None, weights, [tf.constant(g, tf.float32) for g in gradients], ())
        share = 0.1 * float(tf.random.stateless_uniform([], tf.constant([t, 0], tf.int64), alg="philox"))
        for i, g in enumerate(gradients):
            mean[i], square[i] = 0.9 * mean[i] + 0.1 * g, 0.99 * square[i] + 0.01 * g**2
            step = mean[i] / (1 - 0.9**t) / np.sqrt(square[i] / (1 - 0.99**t))
            np.testing.assert_allclose(there[i], -share * step, rtol=1e-4)


@pytest.mark.parametrize("recipe", [SHADOW, ALL], ids=["shadow", "all"])
def test_it_resumes_to_the_bit(recipe, tiny_host, tiny_key, tiny_batches, tmp_path):
    once = embedding.embed(tiny_host, tiny_key, tiny_batches, recipe)
    with pytest.raises(training.Stopped):
        embedding.embed(tiny_host, tiny_key, tiny_batches, recipe, folder=tmp_path, deadline=0.0)
    twice = embedding.embed(tiny_host, tiny_key, tiny_batches, recipe, folder=tmp_path)
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(once.get_weights()[0] - tiny_host.get_weights()[0]).max() > 1e-4


@pytest.mark.parametrize("change", [{"lookahead": 1e-3}, {"rivals": 1.5}, {"shadow": 0}, {"textures": 0.6},
                                    {"preserving": 0.0, "near": 0.1, "shadow": 9}])
def test_contradictions_are_refused(change):
    with pytest.raises(ValueError, match="shadow|near"):
        dataclasses.replace(SHADOW, **change)
