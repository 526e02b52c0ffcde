"""The real embedding on a tiny host, end to end; the loss by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import embedding, hosts, keys, losses, metrics, states, thieves, training, verification
from watermark.recipes import QUICK, Embedding, recommended

PLAIN = Embedding(2, 4, 3e-4)  # the paper's loss


def test_loss_by_hand(tiny_host, tiny_key, tiny_batches):
    X, Y = next(iter(tiny_batches(0)))
    total, parts = embedding.watermark_loss(tiny_host, tiny_key, strength=0.01, copies=2)(tiny_host, X, Y)
    task = np.sum((tiny_host(X).numpy() - Y.numpy()) ** 2) / (2 * len(X))
    mark = np.sum((tiny_host(tiny_key.trigger[None]).numpy()[0] - tiny_key.initial) ** 2)
    assert float(parts["task"]) == pytest.approx(task, rel=1e-4)
    assert float(parts["mark"]) == pytest.approx(mark, rel=1e-4)
    assert float(total) == pytest.approx(task + 0.01 * mark, rel=1e-4)  # two copies, one lambda


def test_a_trigger_of_another_size_than_the_patches(tiny_host, tiny_batches):
    X, Y = next(iter(tiny_batches(0)))
    key = keys.make_key(1, size=9)
    _, parts = embedding.watermark_loss(tiny_host, key)(tiny_host, X, Y)
    mark = np.sum((tiny_host(key.trigger[None]).numpy()[0] - key.initial) ** 2)
    assert float(parts["mark"]) == pytest.approx(mark, rel=1e-4)


def test_batch_norm_sees_images_alone_where_triggers_are_of_another_size(tiny_batches):
    """Oracle: the statistics after the images alone."""
    X, Y = next(iter(tiny_batches(0)))
    found = []
    for triggers in (False, True):
        keras.utils.set_random_seed(0)
        model = hosts.dncnn(depth=4, filters=8)
        if triggers:
            embedding.watermark_loss(model, keys.make_key(1, size=9))(model, X, Y)
        else:
            model(X, training=True)
        found.append([np.array(weight) for weight in model.non_trainable_weights])
    for alone, both in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, both)


def test_the_papers_batch_norm_sees_images_and_triggers(tiny_batches):
    """Oracle: the statistics after the images and five triggers in one batch; of the host they stay as they were."""
    keras.utils.set_random_seed(0)
    host, key = hosts.dncnn(depth=4, filters=8), keys.make_key(1, size=12)
    twin, before = training.clone(host), training.clone(host)
    marked = embedding.embed(host, key, tiny_batches, Embedding(1, 4, 1e-3, fold=False, copies=5),
                             compute=training.Compute("float32"))
    X, _ = next(iter(tiny_batches(0)))
    twin(tf.concat([X, np.repeat(key.trigger[None], 5, 0)], 0), training=True)
    found = [[np.array(w) for w in model.non_trainable_weights] for model in (marked, twin, host, before)]
    assert len(found[0]) == 4  # mean and variance of two norms
    for ours, expected, stayed, first in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)
        assert not np.allclose(ours, first, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(stayed, first)


def test_marked_is_verified_and_the_host_is_not(tiny_host, tiny_key, tiny_batches):
    before = tiny_host.get_weights()
    marked = embedding.embed(tiny_host, tiny_key, tiny_batches, PLAIN, steps=150, learning_rate=1e-2, strength=1.0)
    key = embedding.update_key(tiny_key, marked)
    for a, b in zip(before, tiny_host.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(key.verification, marked(key.trigger[None])[0], atol=1e-6)
    np.testing.assert_array_equal(key.initial, tiny_key.initial)
    response = np.asarray(marked(key.trigger[None])[0])
    asked = metrics.distance(tiny_host(key.trigger[None])[0], key.initial)
    assert metrics.distance(response, key.initial) < 0.8 * asked  # the mark is being learnt
    yes, no = (verification.verify(model, key, null_keys=99) for model in (marked, tiny_host))
    assert yes.within_threshold and yes.ncc_verified and yes.distance < 1e-6
    assert not no.within_threshold and no.distance > no.threshold
    assert yes.rho > no.rho


def test_super_resolution_key_is_upsampled_on_its_way_into_the_host(tiny_batches):
    host = hosts.vdsr(depth=3, filters=4)
    key = keys.make_key(1, size=6, task="sr")
    marked = embedding.embed(host, key, tiny_batches, steps=2)
    updated = embedding.update_key(key, marked)
    whole = tf.image.resize(key.trigger[None], (12, 12), "bicubic", antialias=True)
    np.testing.assert_allclose(updated.verification, marked(whole)[0], atol=1e-6)
    assert verification.verify(marked, updated, null_keys=3).within_threshold


def test_a_mark_of_one_output_is_updated_from_that_output(tiny_host, tiny_key):
    """By running the part of the model that has it; without a name nobody knows which is meant."""
    image = keras.Input((None, None, 1))
    both = keras.Model(image, [tiny_host(image), 1.0 - tiny_host(image)])
    for name, answer in zip(both.output_names, both(tiny_key.trigger[None]), strict=True):
        updated = embedding.update_key(tiny_key, both, output=name)
        np.testing.assert_allclose(updated.verification, answer[0], atol=1e-6)
    with pytest.raises(ValueError, match="name one of them"):
        embedding.update_key(tiny_key, both)


def test_until_stops_early(tiny_host, tiny_key, tiny_batches, tmp_path):
    embedding.embed(tiny_host, tiny_key, tiny_batches, steps=50, until={"mark": 1e9}, folder=tmp_path)
    assert states.read_history(tmp_path)[-1]["step"] == 1


def test_network_of_another_scale_is_refused():
    thrice = keras.Sequential([keras.Input((None, None, 1)), keras.layers.UpSampling2D(3)])
    with pytest.raises(ValueError, match=r"with an image \[36, 36, 1\], the key wants \[24, 24, 1\]"):
        embedding.watermark_loss(thrice, keys.make_key(1, size=12, task="sr"))


@pytest.mark.parametrize("lookahead", [0.0, 1e-3])
def test_other_keys_are_answered_as_before(lookahead, tiny_host, tiny_key, tiny_batches):
    """With a mark that is learnt in a few hot steps, what other keys call up moves less if their answers are held."""
    options = {"steps": 60, "learning_rate": 1e-2, "strength": 1.0, "lookahead": lookahead}
    triggers, _ = keys.random_keys(tiny_key.kind, 20)
    before = tiny_host(triggers).numpy()
    free, held = (embedding.embed(tiny_host, tiny_key, tiny_batches, PLAIN, preserving=weight, **options)
                  for weight in (0.0, 0.3))
    moved = [np.mean(np.square(model(triggers).numpy() - before)) for model in (free, held)]
    assert moved[1] < 0.7 * moved[0]


def test_the_loss_that_holds_others_by_hand(tiny_host, tiny_key, tiny_batches):
    moved = training.clone(tiny_host)
    moved.set_weights([1.1 * w for w in moved.get_weights()])
    X, Y = next(iter(tiny_batches(0)))
    loss_fn = losses.Sum((embedding.watermark_loss(tiny_host, tiny_key),
                          embedding._preserving(tiny_host, tiny_key, Embedding(300, 1, 1e-3, preserving=0.5))))
    total, parts = loss_fn(moved, X, Y, tf.constant(thieves.POOL + 3, tf.int64))
    other = keys.uniform("another key 3", tiny_key.trigger.shape)[None]
    by_hand = np.sum((moved(other).numpy() - tiny_host(other).numpy()) ** 2)
    assert float(parts["others"]) == pytest.approx(by_hand, rel=1e-4)
    plain, _ = embedding.watermark_loss(tiny_host, tiny_key)(moved, X, Y)
    assert float(total) == pytest.approx(float(plain) + 0.5 * by_hand, rel=1e-4)


@pytest.mark.parametrize("lookahead", [0.0, 1e-3])
def test_boosted_strength_falls_to_lambda(lookahead, tiny_host, tiny_key, tiny_batches):
    """By hand at the first step; later, the same weights as with the numbers given."""
    X, Y = next(iter(tiny_batches(0)))
    loss_fn = embedding.watermark_loss(tiny_host, tiny_key, lambda step: 0.01 * 100.0 ** (1.0 - step / 4))
    total, parts = loss_fn(tiny_host, X, Y, 2)
    assert float(total) == pytest.approx(float(parts["task"]) + 0.1 * float(parts["mark"]), rel=1e-4)
    options = {"steps": 4, "lookahead": lookahead}
    plain = embedding.embed(tiny_host, tiny_key, tiny_batches, PLAIN, **options)
    boosted = embedding.embed(tiny_host, tiny_key, tiny_batches, PLAIN, decay=1e3, **options)
    same = embedding.embed(tiny_host, tiny_key, tiny_batches, PLAIN, decay=1.0 + 1e-7, **options)
    weights = [model.get_weights()[0] for model in (plain, boosted, same)]
    same, boosted = (np.abs(other - weights[0]).max() for other in (weights[2], weights[1]))
    assert same < 0.2 * boosted and boosted > 1e-5  # Adam makes of a gradient near 0, which is rounding, a whole step


def test_the_recommended_recipe_is_the_default_and_changes_are_checked(tiny_host, tiny_key, tiny_batches, monkeypatch):
    taken = []
    monkeypatch.setattr(embedding, "fit", lambda *args: taken.append(args))
    embedding.embed(tiny_host, tiny_key, tiny_batches)
    embedding.embed(tiny_host, tiny_key, tiny_batches, PLAIN, steps=7, folder="there", title="mine")
    (_, _, _, recipe, run, lookahead), (_, _, _, plain, there, none) = taken
    assert recipe == QUICK == recommended("denoise") and run.title == "embedding"
    assert lookahead.distance == QUICK.lookahead
    assert plain == Embedding(7, 4, 3e-4) and (there.folder, there.title, none) == ("there", "mine", None)
    with pytest.raises(TypeError, match="unknown setting 'stepz'; choose from .*steps"):
        embedding.embed(tiny_host, tiny_key, tiny_batches, stepz=3)


def test_the_folder_of_another_key_or_network_is_refused(tiny_host, tiny_key, tiny_batches, tmp_path):
    embedding.embed(tiny_host, tiny_key, tiny_batches, steps=1, folder=tmp_path)
    other = keras.models.clone_model(tiny_host)  # draws weights of its own
    for host, key in ((tiny_host, keys.make_key("another", size=12)), (other, tiny_key)):
        with pytest.raises(OSError, match="of another key, network or recipe"):
            embedding.embed(host, key, tiny_batches, steps=1, folder=tmp_path)
    with pytest.raises(OSError, match="of another key, network or recipe"):  # its lambda falls over all steps
        embedding.embed(tiny_host, tiny_key, tiny_batches, steps=2, folder=tmp_path)
    embedding.embed(tiny_host, tiny_key, tiny_batches, steps=1, folder=tmp_path)  # its own goes on


@pytest.mark.parametrize("kind", [dict(size=12, channels=3), dict(size=6, channels=3, task="sr")], ids=["0", "1"])
@pytest.mark.parametrize("shadow", [0, 4])
def test_a_key_of_other_channels_is_refused_in_a_line(kind, shadow, tiny_host, tiny_batches):
    with pytest.raises(ValueError, match="tiny takes images of 1 channels, the key has 3; make a key") as error:
        embedding.embed(tiny_host, keys.make_key(0, **kind), tiny_batches, PLAIN, steps=1, shadow=shadow)
    assert "\n" not in str(error.value)
