"""Networks that cannot be traced for every image size at once. Oracle: the network called by Keras itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import watermark
from watermark import forms, inference, keys, tracing
from watermark.cli import main
from watermark.models import ModelError
from watermark.suspects import SuspectError, load_suspect

L = keras.layers


def _unet():
    """As many U-Nets go up again; Keras' bilinear UpSampling2D cannot take sides that are not known."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 1))
    down = L.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    up = L.UpSampling2D(2, interpolation="bilinear")(down)
    return keras.Model(image, L.Conv2D(1, 3, padding="same")(L.Concatenate()([image, up])), name="unet")


@pytest.fixture(scope="module")
def unet():
    return _unet()


def test_it_answers_images_of_every_size_that_it_takes(unet):
    predict = inference.predictor(unet)
    for sides in ((16, 16), (8, 12), (16, 16)):
        images = np.float32(np.random.default_rng(0).random((2, *sides, 1)))
        np.testing.assert_allclose(predict(images), unet(images), atol=1e-6)
    assert tracing.sized(unet) and forms.form(unet).step == 2
    with pytest.raises(SuspectError, match="takes no images of 7x8 pixels") as error:
        predict(np.zeros((1, 7, 8, 1)))
    assert "\n" not in str(error.value)


def test_it_is_inspected_marked_and_asked_as_others_are(unet, tmp_path, capsys):
    """A key of odd sides is continued, as for networks of one trace."""
    unet.save(tmp_path / "unet.keras")
    assert main(["inspect", f"--model={tmp_path / 'unet.keras'}"]) in (0, 1)
    assert "multiples of 2" in capsys.readouterr().out
    key = keys.make_key("a", size=17, owner="Ada")
    marked = watermark.embed(unet, keys.make_key("a", size=16, owner="Ada"), lambda step: tf.data.Dataset.from_tensors(
        (np.zeros((2, 16, 16, 1), "f4"), np.zeros((2, 16, 16, 1), "f4"))).repeat(), steps=1)
    assert watermark.verify(load_suspect(tmp_path / "unet.keras"), key, null_keys=3).null_keys == 3
    assert watermark.verify(marked, key, null_keys=3).null_keys == 3


@pytest.mark.parametrize("form", ["saved_model", "tflite", "onnx"])
def test_it_is_written_as_keras_only(form, unet, tmp_path):
    name = {"saved_model": "m", "tflite": "m.tflite", "onnx": "m.onnx"}[form]
    with pytest.raises(ModelError, match=r"images of every size; .*keras.Input\(\(H, W, C\)\)") as error:
        watermark.export(unet, tmp_path / name, form)
    assert "\n" not in str(error.value) and not (tmp_path / name).exists()
    assert watermark.export(unet, tmp_path / f"{form}.keras", "keras").parity < 1e-6


def test_a_network_that_is_broken_besides_is_refused_at_once():
    class Broken(L.Layer):
        def call(self, x):
            return x if isinstance(x, keras.KerasTensor) else tf.reshape(x, (7, -1, "no", 1))

    image = keras.Input((None, None, 1))
    with pytest.raises((TypeError, ValueError)):
        inference.predictor(keras.Model(image, Broken()(image)))
