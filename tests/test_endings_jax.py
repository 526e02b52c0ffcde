"""How the scripts that train on JAX end, and what they say of inputs that are there in part."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from watermark import errors
from watermark.data import sets
from watermark.jaxtraining import scripts

ROOT = Path(__file__).parents[1]
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is missing: pip install -e .[gpu]")
SHARED = ("minutes", "out", "data_dir", "chunk", "save_every")
LISTED = {"train_hosts_jax": ("hosts", "share", "grow", "scales", "seed", *SHARED), "train_jobs_jax": ("jobs", *SHARED)}


def _script(name, *flags):
    return subprocess.run([sys.executable, str(ROOT / "experiments" / f"{name}.py"), *flags], capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("script", LISTED)
def test_help_lists_all_flags_of_a_script(script):
    done = _script(script, "--help")
    assert done.returncode == 0 and all(f"  --{name}: " in done.stdout for name in LISTED[script]), done.stdout


@pytest.mark.parametrize("script", LISTED)
@pytest.mark.parametrize(("flag", "why"), [
    ("--bogus=1", "Unknown command line flag 'bogus'"), ("--minutes=x", "--minutes=x"), ("--minutes=nan", "finite"),
    ("--out=", "expected a value, got none")])
def test_flags_that_cannot_be_are_refused_in_a_line(flag, why, script):
    done = _script(script, flag)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and why in done.stderr


@pytest.fixture
def ended(monkeypatch, capsys):
    """(exit code, stderr) of a training that ends in an error."""
    monkeypatch.setattr(scripts, "FLAGS", SimpleNamespace(minutes=None, data_dir="sets"))

    def run(error):
        code = scripts.run(["script"], lambda *_: (_ for _ in ()).throw(error), "--hosts=red", "hosts are finished")
        return code, capsys.readouterr().err

    return run


def test_a_full_gpu_is_said_in_a_line(ended):
    """Oracle: JAX's own words, of a RuntimeError."""
    full = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1099511627776 bytes.\nmore")
    code, said = ended(full)
    assert code == 2 and said.startswith("error: out of memory; lower --batch_size") and said.count("\n") == 1
    assert "allocate 1099511627776 bytes" in errors.lack(full)
    with pytest.raises(RuntimeError, match="a fault"):
        ended(RuntimeError("INTERNAL: a fault"))


@needs_jax
def test_a_job_without_its_parent_is_an_error(tmp_path):
    from watermark.jaxtraining import jobs
    from watermark.jaxtraining.loop import Pace

    job = {"parent": "a", "host": "red", "train_set": "train400", "seed": 0, "patch": 16, "bfloat16": True,
           "recipe": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}, "files": {}, "outputs": {"b": 1}}
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    assert not jobs.run(tmp_path, tmp_path, tmp_path, Pace(deadline=0.0))  # which does not come to it
    with pytest.raises(jobs.JobsError, match=r"has no a\.keras, which b begin with; copy the whole folder") as error:
        jobs.run(tmp_path, tmp_path, tmp_path, Pace())
    assert "\n" not in str(error.value)


@needs_jax
def test_a_set_that_is_there_in_part_is_noted(tmp_path, capsys):
    from watermark.jaxtraining import pools

    *files, last = sets.sources()["set5"]["files"]
    for name in ("set5", "mine"):
        (tmp_path / name).mkdir()
        for file in files:
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name / file)
        (tmp_path / name / f"._{last}").write_text("not an image")
        assert len(pools.read_set(tmp_path, name)) == 4
    assert capsys.readouterr() == ("", f"note: {tmp_path / 'set5'} lacks 1 of the 5 images of set5\n")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "set5" / last)
    assert len(pools.read_set(tmp_path, "set5")) == 5 and capsys.readouterr().err == ""
