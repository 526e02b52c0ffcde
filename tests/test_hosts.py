"""Oracles: the paper's parameter counts, the unfolded model, the model before saving."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from watermark import data, hosts, training
from watermark.hosts import folding
from watermark.recipes import Recipe
from watermark.tasks import TASKS, task_alone, task_loss

UNFOLDED = {"dncnn": 556_097, "red": 408_064, "vdsr": 665_921, "srdncnn": 556_097}


def _parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _randomised(model):
    """The model with batch norms that are not the identity."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


@pytest.mark.parametrize("name", hosts.HOSTS)
def test_every_host(name, tmp_path):
    host = hosts.HOSTS[name]
    model = _randomised(host.build())
    folded = hosts.fold_batch_norm(model)
    assert _parameters(model) == UNFOLDED[name]
    assert host.parameters == _parameters(model)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    for height, width in ((7, 9), (40, 33)):
        images = np.random.default_rng(1).random((2, height, width, 1), np.float32)
        output = np.asarray(model(images, training=False))
        assert output.shape == images.shape
        # Random statistics give outputs far above 1, so the bound is relative.
        np.testing.assert_allclose(folded(images, training=False), output, atol=1e-5 * np.abs(output).max())
    assert not any(map(folding.plain, folded.layers))  # RED's transposed convolutions are convolutions now
    folded.save(tmp_path / "host.keras")
    loaded = keras.saving.load_model(tmp_path / "host.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(images), folded(images))


@pytest.mark.parametrize("name", hosts.HOSTS)
def test_every_host_learns_and_resumes_exactly(name, tmp_path):
    """Real patches, three steps of the host's own training."""
    spec = hosts.HOSTS[name]
    images = list(data.images("sample_train").values())[:2]
    batches = TASKS[spec.task].batches(images, seed=0, batch_size=2, size=24)
    keras.utils.set_random_seed(0)
    host = hosts.fold_batch_norm(spec.build())
    once, twice = training.clone(host), training.clone(host)
    recipe, run = Recipe(3, 2, 1e-4, clip=spec.clip, schedule="constant"), training.Run(
        compute=training.Compute("float32"))
    training.fit(once, task_alone, batches, recipe, run)
    for steps in (2, 3):
        training.fit(twice, task_alone, batches, replace(recipe, steps=steps), replace(run, folder=tmp_path))
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    X, Y = next(iter(batches(0)))
    assert task_loss(once, X, Y) < task_loss(host, X, Y)


def test_unknown_host_lists_the_choices():
    with pytest.raises(ValueError, match="dncnn, red, vdsr, srdncnn"):
        hosts.get_host("unet")


def test_folding_leaves_what_it_cannot_fold():
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="first")(inputs)
    shared = layers.Conv2D(2, 3, padding="same", name="shared")(x)
    normed = layers.BatchNormalization(name="of_shared")(shared)
    active = layers.BatchNormalization(name="after_relu")(layers.Conv2D(2, 3, activation="relu")(normed))
    free = layers.BatchNormalization(name="free", scale=False)(layers.Conv2D(2, 1)(active))
    model = _randomised(keras.Model(inputs, [free, shared]))
    folded = hosts.fold_batch_norm(model)
    kept = {layer.name for layer in folded.layers if isinstance(layer, layers.BatchNormalization)}
    assert kept == {"first", "of_shared", "after_relu"}
    images = np.random.default_rng(1).random((2, 8, 8, 1), np.float32)
    for a, b in zip(folded(images), model(images), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_folding_a_sequential_model():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.BatchNormalization()])
    assert len(hosts.fold_batch_norm(_randomised(model)).layers) == 2


def test_folding_refuses_a_subclassed_model():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="functional"):
        hosts.fold_batch_norm(Subclassed())
