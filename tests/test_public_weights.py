"""Published numbers, with the published networks, through this project's own loader and evaluation."""

import os

import numpy as np
import pytest

from watermark import inference, keys, metrics, tasks
from watermark.data import sets
from watermark.hosts import WeightsError, load_pretrained


def _psnr(model, task, name, data_dir, variant=None):
    return inference.evaluate(model, tasks.TASKS[task], list(sets.images(name, data_dir).values()), variant).mean()


def _small(data_dir):
    """The first seven images of Set12, 256x256: Cameraman, House, Peppers, Starfish, Monarch, Airplane, Parrot."""
    images = [image for image in sets.images("set12", data_dir).values() if image.shape == (256, 256)]
    assert len(images) == 7
    return images


# DnCNN-S at sigma = 25 on them, one by one: Zhang et al., IEEE TIP 2017, Table III.
PUBLISHED = np.mean([30.18, 33.06, 30.87, 29.41, 30.28, 29.13, 29.43])


@pytest.mark.skipif("WATERMARK_FULL_SETS" not in os.environ, reason="minutes; WATERMARK_FULL_SETS=1 asks for it")
def test_dncnn_on_the_full_sets(weights_dir, data_dir):
    model = load_pretrained("dncnn", weights_dir / "dncnn_sigma25.mat")
    assert _psnr(model, "denoise", "set12", data_dir) == pytest.approx(30.44, abs=0.02)
    assert _psnr(model, "denoise", "bsd68", data_dir) == pytest.approx(29.23, abs=0.02)


def test_dncnn(weights_dir, data_dir):
    model = load_pretrained("dncnn", weights_dir / "dncnn_sigma25.mat")
    found = inference.evaluate(model, tasks.TASKS["denoise"], _small(data_dir)).mean()
    assert found == pytest.approx(PUBLISHED, abs=0.03)
    # Table IV: an unmarked DnCNN is 1.11e-2 from the verification images of random keys.
    triggers, initials = keys.random_keys(keys.make_key(0).kind, 200)
    responses = inference.predictor(model)(triggers)
    distances = [metrics.distance(a, b) for a, b in zip(responses, initials, strict=True)]
    assert np.mean(distances) == pytest.approx(11.1e-3, abs=0.3e-3)
    assert min(distances) > metrics.threshold(1600)


def test_dncnn_in_keras_2_form(weights_dir, data_dir):
    model = load_pretrained("dncnn", weights_dir / "dncnn_sigma25_keras.h5")
    found = inference.evaluate(model, tasks.TASKS["denoise"], _small(data_dir)).mean()
    assert found == pytest.approx(PUBLISHED, abs=0.03)


@pytest.mark.parametrize(("scale", "published"), [(2, 37.53), (3, 33.66), (4, 31.34)])
def test_vdsr(weights_dir, data_dir, scale, published):
    model = load_pretrained("vdsr", weights_dir / "vdsr_official.mat")
    assert _psnr(model, "sr", "set5", data_dir, scale) == pytest.approx(published, abs=0.08)  # MATLAB's bicubic


def test_red_as_a_whole_keras_2_model(weights_dir, data_dir):
    model = load_pretrained("red", weights_dir / "red10_sigma25_keras.hdf5")
    assert inference.evaluate(model, tasks.TASKS["denoise"], _small(data_dir)).mean() == pytest.approx(30.28, abs=0.03)


def test_depth_follows_the_file(weights_dir):
    assert len([x for x in load_pretrained("srdncnn", weights_dir / "dncnn3.mat").layers if x.weights]) == 20


def test_unknown_layouts_are_refused(weights_dir, tmp_path):
    import h5py
    import scipy.io

    scipy.io.savemat(tmp_path / "other.mat", {"net": np.zeros(3)})
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    (tmp_path / "text.mat").write_text("no weights at all")
    for file, match in (("other.mat", "expected a struct named model"), ("other.h5", "layer_names"),
                        ("text.mat", "MATLAB|read"), ("none.mat", "no such"), ("x.onnx", "no such")):
        with pytest.raises(WeightsError, match=match):
            load_pretrained("dncnn", tmp_path / file)
    with pytest.raises(WeightsError, match=r"found \d+ layers.*for red of"):
        load_pretrained("red", weights_dir / "dncnn_sigma25_keras.h5")
    with pytest.raises(ValueError, match="choose from"):
        load_pretrained("unet", weights_dir / "dncnn3.mat")
