"""Oracles: the paper's parameter counts, the unfolded model, the model before saving."""

from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import scipy.io
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


def _whole(tmp_path, model):
    model.save(tmp_path / "whole.h5")
    return tmp_path / "whole.h5"


BUILDERS = {"dncnn": hosts.dncnn, "red": hosts.red, "vdsr": hosts.vdsr}


@pytest.mark.filterwarnings("ignore:.*HDF5")
@pytest.mark.parametrize("asked", BUILDERS)
@pytest.mark.parametrize("there", BUILDERS)
def test_a_whole_model_is_taken_for_its_own_host_only(there, asked, tmp_path):
    """By the files of all three at one depth, and with other kernels, as RED's public weights have."""
    path = _whole(tmp_path, BUILDERS[there](depth=4, kernel=5))
    if there == asked:
        model = hosts.load_pretrained(asked, path)
        assert model.count_params() == BUILDERS[there](depth=4, kernel=5).count_params()
    else:
        with pytest.raises(hosts.WeightsError, match=rf"^{path}: found a network with .*, expected for {asked} "):
            hosts.load_pretrained(asked, path)


@pytest.mark.filterwarnings("ignore:.*HDF5")
@pytest.mark.parametrize("make", [
    lambda x: keras.layers.Conv2D(1, 1)(x), lambda x: x,
    lambda x: keras.layers.Subtract()([x, keras.layers.Conv2D(1, 3, padding="same")(keras.layers.Conv2D(8, 3)(x))]),
], ids=["one layer", "nothing", "narrow"])
def test_a_whole_model_of_another_build_is_no_host(make, tmp_path):
    x = keras.Input((None, None, 1))
    with pytest.raises(hosts.WeightsError, match="whole.h5: found"):
        hosts.load_pretrained("dncnn", _whole(tmp_path, keras.Model(x, make(x))))


def _v73(path, fill):
    """A MATLAB file of version 7.3: HDF5 behind a head of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with open(path, "r+b") as file:
        file.write((b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM").ljust(512, b"\0"))


def _one_weight_a_layer(file):
    kernel = file.create_dataset("#refs#/k", data=np.zeros((64, 1, 3, 3)))
    layer = file.create_group("#refs#/layer")
    layer.create_dataset("weights", data=np.array([[kernel.ref]], dtype=h5py.ref_dtype))
    file.create_dataset("net/layers", data=np.array([[layer.ref]], dtype=h5py.ref_dtype))


def _cells(*arrays):
    cells = np.empty(len(arrays), object)
    cells[:] = arrays
    return cells


SHAPES = (3, 3, 64), (3, 3, 64, 64), (3, 3, 64)


@pytest.mark.parametrize(("fill", "said"), [
    (lambda path: scipy.io.savemat(path, {"foo": 1}), r"found variables \['foo'\], expected a struct named model"),
    (lambda path: scipy.io.savemat(path, {"model": 1}), "no struct of weight and bias"),
    (lambda path: scipy.io.savemat(path, {"model": {"weight": np.zeros(3), "bias": np.zeros(2)}}), "3 weights and 2"),
    (lambda path: scipy.io.savemat(path, {"model": {
        "weight": _cells(*map(np.zeros, SHAPES)), "bias": _cells(*map(np.zeros, (64, 63, 1)))}}),
     r"number 2 is \(\(3, 3, 64, 64\), 63\) .*expected \(\(3, 3, 64, 64\), 64\) for dncnn of 3"),
    (lambda path: _v73(path, _one_weight_a_layer), "a layer of 1 arrays of weights, expected a kernel and a bias"),
    (lambda path: _v73(path, lambda file: file.create_group("foo")), r"\['foo'\], expected net.layers"),
    (lambda path: _v73(path, lambda file: file.create_dataset("net", data=1)), "as dncnn weights|net.layers"),
    (lambda path: _v73(path, lambda file: file.create_dataset("net/layers", data=np.zeros(3))), "as dncnn weights"),
    (lambda path: path.write_bytes(b"no weights at all" * 99), "as dncnn weights"),
    (lambda path: path.write_bytes(b""), "as dncnn weights"),
], ids=["foo", "number", "unequal", "63 biases", "one weight", "v7.3 foo", "v7.3 number", "v7.3 numbers", "text",
        "empty"])
def test_a_mat_file_that_is_not_the_hosts_is_refused_by_name(fill, said, tmp_path):
    fill(tmp_path / "x.mat")
    with pytest.raises(hosts.WeightsError, match=said) as error:
        hosts.load_pretrained("dncnn", tmp_path / "x.mat")
    assert str(error.value).startswith(str(tmp_path / "x.mat")) and str(error.value).count("x.mat") == 1
    assert "\n" not in str(error.value) and "is not a MATLAB file: found" not in str(error.value)


@pytest.mark.parametrize("fill", [
    lambda file: None, lambda file: file.attrs.update(layer_names=[b"a"]),
    lambda file: file.attrs.update(layer_names=3), lambda file: file.attrs.update(model_config=b"{"),
    lambda file: file.create_dataset("layers", (1 << 16, 1 << 16), chunks=(64, 64)),
], ids=["empty", "no group", "number", "configuration", "16 GB"])
def test_an_h5_file_that_is_not_the_hosts_is_refused_by_name(fill, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        fill(file)
    with pytest.raises(hosts.WeightsError) as error:
        hosts.load_pretrained("dncnn", tmp_path / "x.h5")
    assert str(error.value).startswith(str(tmp_path / "x.h5")) and str(error.value).count("x.h5") == 1
    assert "\n" not in str(error.value)
