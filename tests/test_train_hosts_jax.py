"""Oracles: `watermark.data` and `watermark.tasks` for images and quality, an uninterrupted run for a resumed one."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from watermark import data, metrics
from watermark.hosts import HOSTS
from watermark.tasks import TASKS

ROOT = Path(__file__).parents[1]
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is missing: pip install -e .[gpu]")
FREE = ("watermark", "watermark.hosts", "watermark.optimizers", "watermark.recipes", "watermark.files",
        "watermark.metrics", "watermark.errors", "watermark.jaxtraining.scripts")
FLAGS = ("--patch=16", "--batch_size=2", "--chunk=2", "--images=2", "--measure_every=0", "--save_every=0")


def _python(*arguments, **environment):
    found = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])} | environment
    return subprocess.run([sys.executable, *map(str, arguments)], env=found, capture_output=True, text=True)


WITHOUT = "import sys; sys.modules['tensorflow'] = None"
OUR_OWN = """
import builtins, keras
real = builtins.__import__
def ours(name, globals=None, *rest):
    if name.split(".")[0] == "tensorflow" and (globals or {}).get("__name__", "").startswith("watermark"):
        raise ImportError(f"{globals['__name__']} imports {name}")
    return real(name, globals, *rest)
builtins.__import__ = ours"""


@pytest.mark.parametrize(("backend", "guard"), [("tensorflow", OUR_OWN), pytest.param("jax", WITHOUT, marks=needs_jax)])
def test_hosts_are_made_without_tensorflow(backend, guard):
    """Where JAX is missing, Keras needs TensorFlow; then none of our own modules may."""
    code = f"{guard}\nimport importlib\n[importlib.import_module(m) for m in {FREE}]\nfrom watermark import hosts\n"
    done = _python("-c", code + "hosts.fold_batch_norm(hosts.red(depth=5, filters=4))", KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder of two smooth images 40x48 a set, grey or in colours."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for name in ("train400", "set12", "t91", "bsd200", "set14"):
        (folder / name).mkdir()
        for i in range(2):
            wave = 127 + 100 * np.sin(np.add.outer(rng.random(40) + np.arange(40) / 3, np.arange(48) / 4))
            image = np.uint8(wave if name in ("train400", "set12") else np.stack([wave, wave.max() - wave, wave], -1))
            Image.fromarray(image).save(folder / name / f"{i}.png")
    return folder


def _train(sets, out, *flags, **environment):
    return _python(ROOT / "tests" / "tiny_hosts_jax.py", f"--data_dir={sets}", f"--out={out}", *FLAGS, *flags,
                   **environment)


@needs_jax
def test_trained_hosts_load_under_tensorflow_and_are_as_good_there(sets, tmp_path):
    done = _train(sets, tmp_path, "--steps=6", "--grow=0.5:2", "--scales=2:1,3:0.5", "--minutes=60")
    assert done.returncode == 0 and "NOTE" not in done.stdout, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.{end}" for name in HOSTS for end in ("json", "keras")}
    for name, host in HOSTS.items():
        rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        assert [row["step"] for row in rows] == [2, 3, 5, 6]
        assert rows[-1]["pixels"] == (3 * 2 + 3 * 4) * 16 * 16
        model, task = keras.saving.load_model(tmp_path / f"{name}.keras"), TASKS[host.task]
        assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
        images = list(map(data.read_image, sorted((sets / host.test_sets[0]).iterdir())))
        for variant in [""] if host.task == "denoise" else [2, 3]:
            found = []
            for X, Y in task.pairs(images, variant):
                X, Y = (image[:, (image.shape[1] - len(image)) // 2:][:, :len(image), None] for image in (X, Y))
                found.append(metrics.psnr(*task.comparable(np.asarray(model(X[None]))[0], Y, variant)))
            key = f"psnr_x{variant}_average" if variant else "psnr_average"
            assert rows[-1][key] == pytest.approx(np.mean(found), abs=2e-3)


@needs_jax
def test_a_killed_training_goes_on_to_the_same_weights(sets, tmp_path):
    flags = ("--hosts=red", "--steps=6", "--seed=1")
    assert _train(sets, tmp_path / "once", *flags).returncode == 0
    assert _train(sets, tmp_path / "twice", *flags, TINY_DIE="2").returncode == 9
    assert [p.name for p in (tmp_path / "twice").iterdir()] == ["red-1.npz"]
    other = _train(sets, tmp_path / "twice", "--hosts=red", "--steps=7", "--seed=1")
    assert other.returncode == 2 and "another course" in other.stderr
    late = _train(sets, tmp_path / "twice", *flags, "--minutes=0", "--export")
    assert late.returncode == 0 and "red: step 4 of 6" in late.stdout and "NOTE" in late.stdout
    assert (tmp_path / "twice" / "red-1.keras").exists()  # and yet it goes on:
    assert _train(sets, tmp_path / "twice", *flags).returncode == 0
    assert not (tmp_path / "twice" / "red-1.npz").exists()
    once, twice = (keras.saving.load_model(tmp_path / run / "red-1.keras") for run in ("once", "twice"))
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


LET_GO = """
import gc, sys, weakref
sys.modules["tensorflow"] = None
import jax, numpy as np
from watermark import hosts
from watermark.jaxtraining import loop, pools

pool = pools.denoising_pool([np.full((24, 24), 99, np.uint8)], 16)

def trained(number):
    model = hosts.fold_batch_norm(hosts.dncnn(depth=3, filters=4))
    training = loop.Training(model, pool, loop.Course(1, 2, 16, 1e-3), f"{sys.argv[1]}/{number}.npz")
    assert training.run(lambda M: {}, loop.Pace(1))
    return weakref.ref(training)

alive = [trained(number) for number in range(2)]
gc.collect()
print([training() for training in alive])
"""


@needs_jax
def test_a_training_that_is_over_lets_go_of_its_weights(tmp_path):
    """Of dozens of jobs in one process, the memory of each."""
    done = _python("-c", LET_GO, tmp_path, KERAS_BACKEND="jax")
    assert done.stdout.strip() == "[None, None]", done.stderr


@needs_jax
def test_what_is_missing_is_said_in_a_line(sets, tmp_path):
    done = _train(tmp_path / "nowhere", tmp_path / "out", "--steps=2")
    assert done.returncode == 2 and done.stderr.startswith("error: expected the images of train400")


class Given(SimpleNamespace):
    """Stands for absl's flags."""

    def __getitem__(self, name):
        return SimpleNamespace(value=getattr(self, name))


@pytest.fixture
def given(monkeypatch):
    """(the script, the values of its flags)."""
    spec = importlib.util.spec_from_file_location("train_hosts_jax", ROOT / "experiments" / "train_hosts_jax.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    flags = Given(steps=9, batch_size=2, patch=16, learning_rate=2e-3, optimizer="muon", average=0.999, share=[],
                  grow=["0.5:2"], scales=["2:1", "3:0.5"])
    monkeypatch.setattr(script, "FLAGS", flags)
    return script, flags


NUMBERS, SHARES, FACTORS = "--share: expected finite numbers", "--grow: expected shares", "--grow: expected whole"


@pytest.mark.parametrize(("flag", "value", "why"), [
    ("share", ["dncnn:0"], NUMBERS), ("share", ["red:1", "dncnn:-1"], NUMBERS), ("share", ["dncnn:nan"], NUMBERS),
    ("share", ["dncnn:inf"], NUMBERS), ("share", ["unet:5"], "unknown host 'unet'; choose from dncnn"),
    ("share", ["dncnn"], "--share: expected items like"), ("share", ["dncnn:1", "dncnn:2"], "--share: a key is given"),
    ("scales", ["2:1", "2:3"], "--scales: a key is given"), ("grow", ["0.5:2", "0.50:4"], "--grow: a key is given"),
    ("grow", ["2:2"], SHARES), ("grow", ["-0.1:2"], SHARES),
    ("grow", ["nan:2"], SHARES), ("grow", ["0.5:inf"], FACTORS), ("grow", ["0.5:nan"], FACTORS),
    ("scales", ["0:1"], "--scales: expected whole scales of 2"), ("scales", ["2:nan"], "finite weights, 0 or more"),
    ("average", -1.0, "average: expected a number between"), ("average", 1.0, "average: expected a number between"),
    ("learning_rate", -1.0, "learning_rate: expected a finite"), ("learning_rate", 0.0, "learning_rate: expected a")])
def test_a_course_that_cannot_be_is_refused(flag, value, why, given):
    script, flags = given
    setattr(flags, flag, value)
    with pytest.raises(ValueError, match=why):
        script.check_recipe(), script.growth(), script.shares(), script.scales()


def test_hosts_may_be_spelt_as_the_paper_does_in_shares_too(given):
    script, flags = given
    before = script.shares()
    assert before == {name: host.parameters / 1e5 for name, host in HOSTS.items()}
    flags.share, flags.average = ["DnCNN:5", "SR-DnCNN:2"], 0.0
    assert script.shares() == before | {"dncnn": 5.0, "srdncnn": 2.0}
    script.check_recipe()
    assert script.growth() == ((0.5, 2),) and script.scales() == {2: 1.0, 3: 0.5}


@needs_jax
@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_plan_by_which_a_host_would_never_train_is_refused(share):
    from watermark.jaxtraining import loop, plan

    with pytest.raises(ValueError, match="share: expected finite numbers above 0"):
        plan.Plan(("dncnn", "red"), loop.Course(1, 1, 16, 1e-3), loop.Pace(), {2: 1.0}, {"dncnn": share})


@needs_jax
@pytest.mark.parametrize("shape", [(41, 30), (24, 24, 3)])
def test_images_are_degraded_as_by_the_projects_own_data(shape):
    from watermark.jaxtraining import pools

    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(pools.grey(image), data.grey(image))
    np.testing.assert_allclose(pools.luminance(image), data.luminance(image), atol=1e-6)
    for scale in (2, 3, 4):
        for ours, theirs in zip(pools.low_and_high(pools.luminance(image), scale),
                                data.low_and_high(data.luminance(image), scale), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-6)


@needs_jax
def test_patches_come_in_all_eight_flips_and_turns():
    """By hand: the patch is the whole image, and input and target are one image."""
    import jax

    from watermark.jaxtraining import pools

    image = np.arange(9, dtype=np.float16).reshape(3, 3)
    pool = pools._pool([(image, image), (image + 9, image + 9)], [1.0, 0.5], 3)
    X, Y, weights = map(np.asarray, pools.draw(pool, jax.random.key(0), 200, 3))
    np.testing.assert_array_equal(X, Y)
    np.testing.assert_array_equal(weights, np.where(Y.min((1, 2, 3)) < 9, 1.0, 0.5))
    expected = {np.rot90(side, turns).tobytes() for side in (image, image[:, ::-1]) for turns in range(4)}
    assert {np.float16(patch[..., 0] % 9).tobytes() for patch in Y} == expected


@needs_jax
def test_noise_is_of_the_stated_strength_and_new_for_every_batch():
    import jax

    from watermark.jaxtraining import pools

    pool = pools.denoising_pool([np.full((64, 64), 100, np.uint8)], 32)
    draws = [np.subtract(*pools.draw(pool, jax.random.key(seed), 16, 32)[:2]) for seed in range(2)]
    assert np.std(draws[0]) == pytest.approx(25 / 255, rel=0.02) and not np.allclose(*draws)
