"""Suspects that are files: of every kind, damaged, and hostile."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import interrogation, keys, limits, models, suspects, verification
from watermark.cli import results
from watermark.suspects import folder

# --- files ------------------------------------------------------------------------------------------------------------


def test_keras_files_old_and_new(owned, tmp_path):
    models.save_model(owned.marked, tmp_path / "m.keras")
    keras.saving.save_model(owned.marked, tmp_path / "m.h5")
    for name in ("m.keras", "m.h5"):
        assert verification.verify(suspects.load_suspect(tmp_path / name), owned.key, null_keys=100).evident


def test_public_keras_2_file_loads(weights_dir):
    model = models.load_model(weights_dir / "red10_sigma25_keras.hdf5")
    assert model.output_shape == (None, None, None, 1)


def test_signatures_and_outputs_by_name(owned, tmp_path):
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "picture")])
        def both(self, picture):
            """A denoised image and a mask."""
            return {"clean": picture * 0.5, "mask": picture > 0.5}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.float32)])
        def add(self, a, b):
            """No image."""
            return a + b

    module = Two()
    tf.saved_model.save(module, str(tmp_path / "two"), signatures={"both": module.both, "add": module.add})
    with pytest.raises(models.ModelError, match="choose one.*add, both"):
        suspects.load_suspect(tmp_path / "two")
    with pytest.raises(models.ModelError, match="has the outputs clean, mask"):
        suspects.load_suspect(tmp_path / "two", signature="both")
    with pytest.raises(models.ModelError, match="expected one, an image"):
        suspects.load_suspect(tmp_path / "two", signature="add")
    suspect = suspects.load_suspect(tmp_path / "two", signature="both", output="clean")
    np.testing.assert_allclose(suspect(owned.key.trigger[None]), owned.key.trigger[None] / 2)


@pytest.mark.parametrize(("null_keys", "keep"), [(0, ".npy"), (100, ".npy"), (0, ".png")])
def test_a_folder_of_answers(null_keys, keep, owned, tmp_path):
    """Someone else puts the questions; 8-bit answers are cut to [0, 1] and still recognised."""
    triggers, _ = keys.random_keys(owned.key.kind, max(null_keys, 1), interrogation.drawn_from("fresh", owned.key))
    folder.write_queries(tmp_path / "q", [owned.key.trigger, *triggers[:null_keys]])
    questions = sorted((tmp_path / "q").glob("*.npy"))
    assert len(questions) == null_keys + 1 and len(list((tmp_path / "q").glob("*.png"))) == null_keys + 1
    (tmp_path / "a").mkdir()
    for question in questions:
        answer = owned.marked(np.load(question)[None]).numpy()
        if keep == ".npy":
            np.save(tmp_path / "a" / question.name, answer[0])
        else:
            keras.utils.save_img(tmp_path / "a" / f"{question.stem}.png", answer[0].clip(0, 1) * 255, scale=False)
    suspect = suspects.load_suspect(tmp_path / "a")
    verdict = verification.verify(suspect, owned.key, null_keys=null_keys, fresh_seed="fresh")
    assert verdict.rho > (0.99 if keep == ".npy" else 0.5)
    assert verdict.evident == (null_keys > 0)  # no fresh keys, no evidence
    with pytest.raises(suspects.SuspectError, match="holds no answer"):
        suspect(np.zeros((1, 16, 16, 1), np.float32))


def test_a_callable_that_enlarges_and_one_that_does_not():
    """Super-resolution keys reach either as they should: small, or upsampled."""
    key = keys.make_key(1, size=8, task="sr")
    seen = []

    def enlarges(images):
        seen.append(images.shape)
        return np.repeat(np.repeat(images, 2, 1), 2, 2)

    def keeps(images):
        seen.append(images.shape)
        return images

    for suspect, size in ((enlarges, 8), (keeps, 16)):
        verification.verify(suspect, key, null_keys=3)
        assert seen[-1] == (4, size, size, 1)  # K among three fresh keys


# --- hostile and damaged files ----------------------------------------------------------------------------------------


def _refused(path, why, **options):
    with pytest.raises((models.ModelError, suspects.SuspectError), match=why) as caught:
        suspects.load_suspect(path, **options)
    assert "\n" not in str(caught.value)


def test_damaged_files(tmp_path, owned):
    for name in ("a.keras", "a.h5", "a.tflite", "a.onnx"):
        (tmp_path / name).write_bytes(b"not a model at all" * 10)
        _refused(tmp_path / name, "damaged|cannot be read")
        _refused(tmp_path / f"no{name}", "no such")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"garbage")
    _refused(tmp_path / "saved", "cannot be read as a SavedModel")
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty", "no response image")
    _refused(tmp_path / "a.pkl", "expected a .keras")
    models.save_model(owned.marked, tmp_path / "cut.keras")
    whole = (tmp_path / "cut.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[:len(whole) // 2])
    _refused(tmp_path / "cut.keras", "damaged")
    pair = [keras.Input((4, 4, 1)), keras.Input((4, 4, 1))]
    models.save_model(keras.Model(pair, keras.layers.Add()(pair)), tmp_path / "two.keras")
    _refused(tmp_path / "two.keras", "expected one batch of images")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.zeros(3)
    _refused(tmp_path / "weights.h5", "weights without a model")


def test_code_in_a_model_file_runs_only_if_allowed(tmp_path):
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2.0, output_shape=lambda s: s)(inputs))
    for name in ("code.keras", "code.h5"):
        model.save(tmp_path / name)
        _refused(tmp_path / name, "--allow_lambda")
        allowed = suspects.load_suspect(tmp_path / name, allow_lambda=True)
        assert float(allowed(np.ones((1, 2, 2, 1)))[0, 0, 0, 0]) == 2.0


def renamed(path, old, new):
    """A .keras file whose configuration has another text in place of one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_saved_model_within_a_keras_file_runs_only_if_allowed(tmp_path):
    """A layer that loads a program from a path; by another name that Keras knows it by, too."""
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs)).export(tmp_path / "program", verbose=False)
    model = keras.Model(inputs, keras.layers.TFSMLayer(str(tmp_path / "program"))(inputs))
    model.save(tmp_path / "layer.keras")
    _refused(tmp_path / "layer.keras", "carries a SavedModel's program in a TFSMLayer; pass --allow_lambda")
    allowed = suspects.load_suspect(tmp_path / "layer.keras", allow_lambda=True)
    assert float(allowed(np.ones((1, 2, 2, 1), np.float32))[0, 0, 0, 0]) == 2.0
    renamed(tmp_path / "layer.keras", b'"module": "keras.layers", "class_name": "TFSMLayer"',
            b'"module": "keras", "class_name": "layers.TFSM\\u004cayer"')
    assert keras.saving.load_model(tmp_path / "layer.keras", safe_mode=False).layers[-1].name == model.layers[-1].name
    _refused(tmp_path / "layer.keras", "in a TFSMLayer")


@pytest.mark.parametrize("name", ["TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "Lambda", "__lambda__"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras_never_sees_what_carries_code(name, suffix, tmp_path, monkeypatch):
    """Whatever its version makes of it."""
    path = tmp_path / f"code{suffix}"
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs)).save(path)
    if suffix == ".keras":
        renamed(path, b'"Rescaling"', f'"{name}"'.encode())
    else:
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace('"Rescaling"', f'"{name}"')
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("it is loaded"))
    _refused(path, "code.* carries .*; pass --allow_lambda")


def test_a_zip_bomb_is_refused_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(2 << 20))
    assert (tmp_path / "bomb.keras").stat().st_size < 1 << 14
    _refused(tmp_path / "bomb.keras", "would unpack to")


def test_what_lies_beside_answers_is_not_of_them(tmp_path):
    """A sparse file of 1 TiB, which takes an hour to read; and one that is sent for an answer is refused."""
    np.save(tmp_path / "a.npy", np.zeros(3))
    before = results.identity(str(tmp_path))
    with open(tmp_path / "notes.bin", "wb") as file:
        file.truncate(1 << 40)
    assert results.identity(str(tmp_path)) == before and before["suspect_bytes"] == 152
    (tmp_path / "notes.bin").rename(tmp_path / "b.npy")
    with pytest.raises(OSError, match="more than 4294967296"):
        results.identity(str(tmp_path))


def test_response_files_hold_no_pickle(tmp_path, owned):
    (tmp_path / "a").mkdir()
    name = folder.query_name(owned.key.trigger)
    np.save(tmp_path / "a" / f"{name}.npy", np.array([{"evil": 1}], object), allow_pickle=True)
    suspect = suspects.load_suspect(tmp_path / "a")
    with pytest.raises(suspects.SuspectError, match="cannot be read"):
        suspect(owned.key.trigger[None])
