"""Trainings made in JAX. Oracles: the gradients of TensorFlow, and what the lab itself would make."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage
import tensorflow as tf
from PIL import Image

from watermark.lab import elsewhere, runner
from watermark import checkpoints, embedding, lookahead, thieves
from watermark.data import sets
from watermark.lab.runner import Options
from watermark.losses import gradients_of
from watermark.recipes import Embedding

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is missing: pip install -e .[gpu]")
PLAIN = Embedding(4, 4, 1e-3, strength=0.01)
SHADOW = dataclasses.replace(PLAIN, shadow=2, rivals=0.5, preserving=1e-3)
RECIPES = {
    "paper": PLAIN,
    "falling, others held": dataclasses.replace(PLAIN, decay=30.0, preserving=1e-2),
    "quick": dataclasses.replace(PLAIN, decay=30.0, lookahead=3e-3, preserving=1e-2),
    "shadow": SHADOW,
    "all": dataclasses.replace(SHADOW, decay=3.0, near=0.1, perturbing=0.05, projecting=0.5),
}


def _python(script, *arguments, **environment):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, str(ROOT / script), *map(str, arguments)], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": path} | environment)


@pytest.mark.parametrize("uniform", [0.2, 0.7], ids=["tuning, on the way", "a rival, at the end"])
@pytest.mark.parametrize("name", RECIPES)
def test_gradients_are_those_of_tensorflow(name, uniform, tiny_host, tiny_key, tiny_batches, tmp_path, monkeypatch):
    """Three steps with the same draws; the weights stay, what is remembered moves. A life of two steps ends in them."""
    monkeypatch.setattr(lookahead, "_uniform", lambda step, stream: tf.constant(uniform))
    recipe = RECIPES[name]
    loss_fn, ahead = embedding.losses(tiny_host, tiny_key, recipe)
    weights = tiny_host.trainable_variables
    drift, expected = ahead.drift(weights) if ahead else None, []
    X, Y, *thiefs = next(iter(embedding.beside(tiny_batches)(0)))[:4]
    for number in range(3):
        batch = (X, Y, *(thiefs if recipe.shadow else ()), tf.constant(number, tf.int64))
        gradients, _ = gradients_of(loss_fn, tiny_host, weights, batch)
        if ahead:
            there = drift.ahead(tiny_host, weights, gradients, batch)
            later, _ = gradients_of(ahead.loss_fn, lookahead.with_weights(tiny_host, there), there, batch)
            gradients = drift.joined(gradients, later)
        expected.append([g.numpy() for g in gradients])
    tiny_host.save(tmp_path / "model.keras")
    K, S = embedding.pair(tiny_host, tiny_key)
    asked = {"X0": X, "Y0": Y, "X1": thiefs[0], "Y1": thiefs[1], "uniform": np.float32(uniform), "K": K, "S": S,
             "others": embedding.others(tiny_host, tiny_key, recipe),
             **dict(zip(("rivals_K", "rivals_S"), thieves.rivals(tiny_host, tiny_key), strict=True))}
    np.savez(tmp_path / "asked.npz", recipe=json.dumps(dataclasses.asdict(recipe)), **asked)
    done = _python("tests/aims_jax.py", tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    for number, gradients in enumerate(expected):
        for i, gradient in enumerate(gradients):
            distance = np.linalg.norm(found[f"{number}-{i}"] - gradient)
            assert distance <= 2e-3 * np.linalg.norm(gradient) + 1e-6, (number, i)


@pytest.mark.parametrize("shape", [(12, 12), (9, 7)])
def test_textures_keep_spectrum_and_noise(shape):
    import jax

    from watermark.jaxtraining import aims

    rng = np.random.default_rng(0)
    Y = rng.random((3, *shape, 1)).astype(np.float32)
    X = Y + 0.1 * rng.standard_normal(Y.shape).astype(np.float32)
    seen = aims.textured(X, Y, jax.random.key(0))
    for before, after in zip((X, Y), map(np.asarray, seen), strict=True):
        np.testing.assert_allclose(*(np.abs(np.fft.fft2(image, axes=(1, 2))) for image in (before, after)), atol=1e-4)
        np.testing.assert_allclose(before.mean((1, 2)), after.mean((1, 2)), atol=1e-5)
        assert np.abs(before - after).max() > 0.05
    assert np.var(np.subtract(*seen)) == pytest.approx(np.var(X - Y), rel=1e-2)


def test_sets_are_the_projects():
    from watermark.jaxtraining import pools

    assert pools.UNIONS == sets.UNIONS and pools.HALVES == sets.HALVES


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The set that stands in for all others in a smoke lab, as the other machine has it."""
    folder = tmp_path_factory.mktemp("sets") / "sample_train"
    folder.mkdir()
    for file in sets.SAMPLE_TRAIN[:3]:
        with Image.open(Path(skimage.__file__).parent / "data" / file) as image:
            image.convert("L").crop((0, 0, 96, 96)).save(folder / f"{Path(file).stem}.png")
    return folder.parent


def _table(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TABLE


@pytest.mark.parametrize("host", ["dncnn", "vdsr"])
def test_a_table_whose_models_are_made_elsewhere(host, lab, sample, tmp_path):
    tables = [_table(name) for name in ("table6_pruning", "table7_finetuning", "table9_multiple_overwriting")]
    options = Options(hosts=[host])
    lab.get(lab.profile.host(host))
    specs = elsewhere.missing(lab, tables, options)
    assert elsewhere.write(lab, specs, tmp_path / "jobs") == len(specs)
    jobs = json.loads((tmp_path / "jobs" / "jobs.json").read_text())
    assert sorted(name for job in jobs for name in job["outputs"]) == sorted(spec.name for spec in specs)
    lengths = [list(job["outputs"].values()) for job in jobs]
    assert [10, 25, 50, 75, 100] in lengths and len(jobs) < len(specs)
    assert all((path.stat().st_mode & 0o077) == 0 for path in (tmp_path / "jobs").glob("key-*"))
    flags = (f"--jobs={tmp_path / 'jobs'}", f"--out={tmp_path / 'made'}", f"--data_dir={sample}", "--chunk=50")
    late = _python("experiments/train_jobs_jax.py", *flags, "--minutes=0")
    assert late.returncode == 0 and "NOTE" in late.stdout and not list((tmp_path / "made").glob("*.keras"))
    assert elsewhere.take(lab, specs, tmp_path / "made") == []
    done = _python("experiments/train_jobs_jax.py", *flags)
    assert done.returncode == 0 and "NOTE" not in done.stdout, done.stderr + done.stdout
    assert not list((tmp_path / "made").glob("*.npz"))
    assert elsewhere.take(lab, specs, tmp_path / "made") == specs and elsewhere.missing(lab, tables, options) == []
    known = checkpoints.describe(lab.cache.path(specs[0].name))
    assert "JAX" in known["device"] and known["recipe"] and known["arithmetic"] == "bfloat16"
    weights = [lab.get(spec).get_weights()[0] for spec in (specs[0].trained, *specs)]
    assert len({w.tobytes() for w in weights}) == len(weights)
    assert host in runner.make(lab, tables[0], options).lower().replace("-", "")


def test_what_is_not_the_network_is_refused(lab, tmp_path):
    table, options = _table("table6_pruning"), Options(hosts=["srdncnn"])
    assert elsewhere.missing(lab, [table], options) == []  # hosts are trained before
    lab.get(lab.profile.host("srdncnn"))
    spec = elsewhere.missing(lab, [table], options)[0]
    model = lab.get(lab.profile.host("red"))  # the other tiny ones are alike
    model.save(tmp_path / f"{spec.name}.keras")
    (tmp_path / f"{spec.name}.json").write_text("{}")
    with pytest.raises(elsewhere.ElsewhereError, match="is no folded srdncnn"):
        elsewhere.take(lab, [spec], tmp_path)
    lab.get(lab.profile.host("srdncnn")).save(tmp_path / f"{spec.name}.keras")
    with pytest.raises(elsewhere.ElsewhereError, match=r"json: expected what train_hosts_jax.py.*'seconds'"):
        elsewhere.take(lab, [spec], tmp_path)
    done = _python("experiments/train_jobs_jax.py", f"--jobs={tmp_path}", f"--data_dir={tmp_path}",
                   f"--out={tmp_path / 'made'}")
    assert done.returncode == 2 and "expected what experiments/jobs.py writes" in done.stderr


def test_an_unmarked_host_that_is_fine_tuned_is_not_made_elsewhere(lab):
    """It has no arithmetic of a mark that a job could state."""

    def tuned(profile, seed, host):
        return profile.host(host).under(profile.finetuning(profile.mark(host, seed), 1))

    lab.get(lab.profile.host("srdncnn"))
    table = dataclasses.replace(_table("table6_pruning"), grid=[{"host": "srdncnn"}], subject=tuned)
    assert elsewhere.missing(lab, [table], Options(hosts=["srdncnn"])) == []


def test_a_network_that_is_cut_short_on_its_way_is_not_there(lab, tmp_path, monkeypatch):
    """As after a kill half-way through the copy: the next call is not to find a file of its name."""

    def cut(source, target):
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise KeyboardInterrupt

    lab.get(lab.profile.host("srdncnn"))
    specs = elsewhere.missing(lab, [_table("table6_pruning")], Options(hosts=["srdncnn"]))
    monkeypatch.setattr(elsewhere.shutil, "copyfile", cut)
    with pytest.raises(KeyboardInterrupt):
        elsewhere.write(lab, specs[:1], tmp_path)
    assert not list(tmp_path.rglob("*.keras"))


JOB = {"parent": "a", "host": "red", "train_set": "train400", "seed": 0, "patch": 16, "bfloat16": True,
       "recipe": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}, "files": {}, "outputs": {}}


WRONG = [
    {}, 3, [{}], [None], *([JOB | {name: None}] for name in JOB),
    *([{other: JOB[other] for other in JOB if other != name}] for name in JOB),
    [JOB, JOB | {"host": "unet"}], [JOB | {"recipe": {"stpes": 1}}], [JOB | {"recipe": JOB["recipe"] | {"steps": 0}}]]


@pytest.mark.parametrize("told", WRONG, ids=range(len(WRONG)))
def test_jobs_that_nobody_has_written_are_refused_in_a_line(told, tmp_path):
    from watermark.jaxtraining import jobs
    from watermark.jaxtraining.loop import Pace

    (tmp_path / "jobs.json").write_text(json.dumps([JOB]))
    assert jobs.run(tmp_path, tmp_path, tmp_path, Pace())  # which asks for no model
    (tmp_path / "jobs.json").write_text(json.dumps(told))
    with pytest.raises(jobs.JobsError, match="jobs.json: expected what experiments/jobs.py writes") as error:
        jobs.run(tmp_path, tmp_path, tmp_path, Pace())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 30, 200])
def test_a_jobs_arrays_that_are_cut_short_are_refused_in_a_line(kept, tmp_path):
    from watermark.jaxtraining import jobs

    np.savez(tmp_path / "key.npz", K=np.ones(99))
    np.testing.assert_array_equal(jobs._arrays(tmp_path / "key.npz")["K"], np.ones(99))
    (tmp_path / "key.npz").write_bytes((tmp_path / "key.npz").read_bytes()[:kept])
    with pytest.raises(jobs.JobsError, match="key.npz: expected arrays"):
        jobs._arrays(tmp_path / "key.npz")
