"""Files that Keras 3 cannot read: one line each, with the way to bring them over, and a page that has it."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import pytest

from watermark import exporting, models

ROOT = Path(__file__).parents[1]


def refused(path, **options):
    """The one line that a file is refused with; short enough for the command line."""
    with pytest.raises(models.ModelError) as caught:
        models.load_model(path, **options)
    line = str(caught.value)
    assert "\n" not in line and len(line.replace(str(path), "")) < 340 and (ROOT / models.PAGE).exists()
    assert models.PAGE in line
    return line


def test_a_saved_model_is_no_model_to_train(owned, tmp_path):
    exporting.save_saved_model(owned.host, tmp_path / "old")
    assert "is a SavedModel" in (line := refused(tmp_path / "old")) and "model.save('mine.keras')" in line
    (tmp_path / "old" / "keras_metadata.pb").touch()  # Keras 2 wrote its layers there
    line = refused(tmp_path / "old")
    assert f"tf_keras.models.load_model('{tmp_path / 'old'}'" in line


def test_a_keras_2_file(owned, tmp_path):
    """As Keras 2.16 writes it: its own version in the metadata, and classes of a package that is not there."""
    models.save_model(owned.host, tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "metadata.json":
                content = json.dumps({"keras_version": "2.16.0", "date_saved": ""})
            if name == "config.json":
                content = content.replace(b"keras.src.models.functional", b"tf_keras.src.engine.functional")
            old.writestr(name, content)
    line = refused(tmp_path / "old.keras")
    assert "it is of Keras 2.16.0" in line and "pip install tf-keras" in line


def _lambda(path):
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2.0, output_shape=lambda s: s)(inputs)).save(path)


def test_a_lambda_of_another_python(tmp_path):
    """Byte code that this Python cannot read, in a file that is trusted; untrusted, it is refused as ever."""
    path = tmp_path / "old.h5"
    _lambda(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda")
        # Keras 2: [marshalled code in base 64, defaults, closure].
        layer["config"].update(function=["4wEAAAAAAAAAAAAAAAEAAAACAAAAQw==\n", None, None], function_type="lambda",
                               output_shape=None, output_shape_type="raw")
        file.attrs["model_config"] = json.dumps(config)
    line = refused(path, allow_lambda=True)
    assert "cannot be run by this Python" in line and "put a layer in its place" in line
    with h5py.File(path, "r+") as file:  # the same name in other letters
        file.attrs["model_config"] = file.attrs["model_config"].replace('"Lambda"', '"\\u004cambda"')
    with pytest.raises(models.ModelError, match="--allow_lambda"):
        models.load_model(path)


def test_a_lambda_that_is_damaged_and_trusted_is_not_told_to_be_trusted(tmp_path):
    path = tmp_path / "old.keras"
    _lambda(path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    config = json.loads(parts["config.json"])
    layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda")
    layer["config"]["function"]["config"]["code"] = "4wEAAAAA\n"
    parts["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    assert "--allow_lambda" not in refused(path, allow_lambda=True)
