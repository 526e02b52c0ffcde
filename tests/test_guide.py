"""docs/guide.md: every command of its table "what you have, what to type" does what it is there for."""

import re
import shlex
from pathlib import Path

import keras
import pytest
from owners import LAYERS, blur, denoiser, learner, pictures, unet, watermark

from watermark import hosts, models
from watermark.cli import embed
from watermark.judgement import Judgement
from watermark.verification import Verdict

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| (`watermark .+`) \|$", GUIDE, re.MULTILINE)


@pytest.fixture
def owners_folder(tmp_path, monkeypatch):
    """A folder with every file that the table names."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "inputs", "targets"):
        pictures(tmp_path / folder, sides=(70, 80))
    image, sigma = keras.Input((None, None, 1), name="image"), keras.Input((None, None, 1), name="sigma")
    sharp = keras.layers.Add()([image, learner(image, 4)])  # for pairs of the same images: nothing is to be done
    Path("my_layers.py").write_text(LAYERS)
    models.register_objects("my_layers.py")
    deep = keras.saving.get_custom_objects()["DepthToSpace"](2)(keras.layers.Conv2D(4, 2, strides=2)(image))
    x = keras.layers.Add()([blur(image), learner(image, 4)])
    for name, model in {
        "mine": denoiser(), "bytes": denoiser(low=0.0, high=255.0), "unet": unet(4), "wide": denoiser((36, 64)),
        "ffdnet": keras.Model([image, sigma], keras.layers.Add()([x, keras.layers.Rescaling(0.0)(sigma)])),
        "layers": keras.Model(image, keras.layers.Add()([x, keras.layers.Rescaling(0.0)(deep)])),
        "two": keras.Model(image, {"picture": keras.layers.Identity(name="picture")(x),
                                   "mask": keras.layers.Conv2D(1, 1, name="mask")(x)}),
        "larger": keras.Model(image, keras.layers.UpSampling2D()(sharp)), "vdsr": keras.Model(image, sharp),
    }.items():
        models.save_model(model, f"{name}.keras")
    keras.saving.get_custom_objects().clear()


def test_every_row_of_the_table_runs(owners_folder, capsys, monkeypatch):
    """As typed, in order, but for the training, which other tests do: a network is taken for marked as it is."""
    monkeypatch.setattr(embed, "embed", lambda model, *args, **options: hosts.fold_batch_norm(model))
    for rule in ("evident", "stands_out"):
        monkeypatch.setattr(Verdict, rule, True)
    monkeypatch.setattr(Judgement, "stands", True)
    monkeypatch.setattr(embed, "strangers", lambda *args: "")
    monkeypatch.setattr(embed, "cost", lambda *args: "")
    assert len(ROWS) >= 12
    for what, commands in ROWS:
        for command in re.findall(r"`watermark (.+?)`", commands):
            told = [*shlex.split(command), *(["--null_keys=20"] if command.startswith(("verify", "export")) else [])]
            if "--task=pairs" in told:  # the table's network removes noise; here there is none to remove
                told.append("--nopreflight")
            if "--model=larger.keras" in told and "embed" in told:
                told.append("--nopreflight")
            keras.saving.get_custom_objects().clear()
            code, said, why = watermark(capsys, *told)
            assert code == 0, (what, command, said, why)
