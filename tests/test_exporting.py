"""Every form answers as the model does and keeps the mark; plain TensorFlow reads what is exported."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import exporting, inference, keys
from watermark.fitting import BYTES, UNIT
from watermark.models import ModelError
from watermark.suspects import load_suspect

# Largest difference of a pixel: rounding of float32 sums, of float16 weights, of 8-bit activations on this network.
PARITY = {"keras": 0.0, "saved_model": 1e-6, "tflite": 1e-4, "tflite_float16": 2e-2, "tflite_int8": 0.6, "onnx": 1e-4}


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_every_form_answers_alike_and_keeps_the_mark(form, owned, tmp_path):
    path = tmp_path / f"model{exporting.SUFFIXES[form]}"
    done = exporting.export(owned.marked, path, form, key=owned.key, null_keys=100)
    assert path.exists() and done.parity <= PARITY[form]
    assert done.verdict.evident and done.verdict.p_value == 1 / 101
    if form != "tflite_int8":  # the paper's rule misses the mark there, the evidence does not
        assert done.verdict.within_threshold
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".part")]


@pytest.mark.parametrize(("pixels", "bump", "apart"), [(UNIT, 0.25, 0.25), (UNIT, -0.25, 0.25), (BYTES, 51.0, 0.2)])
def test_parity_is_the_difference_of_one_pixel(pixels, bump, apart, tiny_host):
    """By hand; of the last image, and on [0, 1] whatever the model's range."""
    def bumped(images):
        answers = inference.predictor(tiny_host)(images).copy()
        answers[-1, 3, 4, 0] += bump
        return answers

    assert exporting.parity(tiny_host, bumped, pixels) == pytest.approx(apart, rel=1e-4)


def test_exported_sizes_are_free(owned, tmp_path):
    for form in ("saved_model", "tflite", "onnx"):
        path = tmp_path / f"model{exporting.SUFFIXES[form]}"
        exporting.export(owned.marked, path, form)
        images = np.random.default_rng(0).random((2, 21, 34, 1), np.float32)
        np.testing.assert_allclose(load_suspect(path)(images), inference.predictor(owned.marked)(images), atol=1e-4)


def test_plain_tensorflow_reads_the_saved_model(owned, tmp_path):
    exporting.save_saved_model(owned.marked, tmp_path / "model")
    program = ("import sys, numpy as np, tensorflow as tf\n"
               "model = tf.saved_model.load(sys.argv[1])\n"
               "np.save(sys.argv[2], model.serve(np.full((1, 9, 7, 1), 0.5, np.float32)).numpy())\n"
               "assert 'watermark' not in sys.modules\n")
    subprocess.run([sys.executable, "-c", program, tmp_path / "model", tmp_path / "answer.npy"], check=True,
                   cwd=tmp_path, capture_output=True)
    expected = owned.marked(np.full((1, 9, 7, 1), 0.5, np.float32))
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, atol=1e-6)


@pytest.mark.parametrize("asked", ["serve", "serving_default"])
def test_the_saved_model_says_its_range_and_refuses_uint8(asked, owned, tmp_path):
    """A noisy picture's pixels beyond 1 pass; those of 8 bits do not, as they are or as floats."""
    exporting.save_saved_model(owned.marked, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert "float32 [N, H, W, C] on [0, 1]" in loaded.about().numpy().decode()
    ask = loaded.serve if asked == "serve" else loaded.signatures[asked]
    ask(image=np.full((1, 9, 7, 1), 1.8, np.float32))
    for dtype in (np.uint8, np.float32):
        with pytest.raises(tf.errors.InvalidArgumentError, match="divide uint8 pixels by 255"):
            ask(image=np.full((1, 9, 7, 1), 128, dtype))


def test_fixed_sizes_and_colours(tmp_path):
    inputs = keras.Input((12, 10, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(inputs))
    assert exporting.export(model, tmp_path / "model.tflite", "tflite").parity < 1e-4


def test_what_cannot_be_written_is_said(owned, tmp_path):
    with pytest.raises(ValueError, match="choose from keras"):
        exporting.export(owned.marked, tmp_path / "m.pb", "frozen")
    with pytest.raises(ModelError, match=r"ends in \.onnx"):
        exporting.export(owned.marked, tmp_path / "m.keras", "onnx")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="no SavedModel"):
        exporting.export(owned.marked, tmp_path / "mine", "saved_model")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_key_for_another_model_is_refused_before_anything_is_written(owned, tmp_path):
    key = keys.make_key("a secret", owner="Ada", size=16, channels=3)
    with pytest.raises(ValueError, match="takes images"):
        exporting.export(owned.marked, tmp_path / "saved", "saved_model", key=key)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["m.keras", "m.onnx", "m.tflite", "m", "m.pb"])
def test_the_form_is_what_the_name_says_here_as_in_the_command(name, owned, tmp_path, monkeypatch):
    """Nothing is written: which form is asked for is seen."""
    forms = {"m.keras": "keras", "m.onnx": "onnx", "m.tflite": "tflite", "m": "saved_model"}
    monkeypatch.setattr(exporting, "FORMATS", ())
    with pytest.raises(ValueError, match=f"unknown format '{forms[name]}'" if name in forms else
                       "m.pb: expected a name that ends in .keras, .tflite or .onnx, or a folder's"):
        exporting.export(owned.marked, tmp_path / name)
    if name not in forms:
        with pytest.raises(ModelError, match="or a folder's"):
            exporting.by_name(name)
