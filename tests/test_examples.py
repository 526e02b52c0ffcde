"""The examples as a reader runs them, shortened."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from watermark import cli

EXAMPLES = Path(__file__).parents[1] / "examples"


def _run(name, *arguments, cwd):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_plain_tensorflow_denoises(tmp_path):
    """With the SavedModel that the project ships, in a program that never imports watermark."""
    assert "watermark." not in (EXAMPLES / "plain_tensorflow.py").read_text()
    done = _run("plain_tensorflow.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.search(r"noisy ([\d.]+) dB, denoised ([\d.]+) dB", done.stdout).groups())
    assert after > before + 8.0


def test_a_colour_photograph_is_denoised_clipped_and_saved(tmp_path):
    """Black and white halves: without clipping, the noise beyond 0 and 255 would come back on the other side."""
    photograph = np.zeros((48, 64, 3), np.uint8)
    photograph[:, 32:] = 255
    Image.fromarray(photograph).save(tmp_path / "photograph.png")
    done = _run("colour_photograph.py", "photograph.png", "mine.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.search(r"noisy ([\d.]+) dB, denoised ([\d.]+) dB", done.stdout).groups())
    assert after > before + 3.0
    saved = np.asarray(Image.open(tmp_path / "mine.png"))
    assert saved.shape == photograph.shape and saved.dtype == np.uint8 and (tmp_path / "mine-noisy.png").exists()
    assert saved[:, :28].max() < 128 < saved[:, 36:].min()


def test_another_task_is_learnt_and_marked(tmp_path):
    """A few steps: a network worse than doing nothing is not marked, and the example says so; a second run goes on."""
    done = _run("jpeg_artifacts.py", "--steps=3", "--mark_steps=2", cwd=tmp_path)
    assert "deblocked" in done.stdout and "is it trained" in done.stderr and done.returncode == 2
    again = _run("jpeg_artifacts.py", "--steps=3", "--mark_steps=2", cwd=tmp_path)
    assert again.returncode == 2 and not (tmp_path / "jpeg" / "marked.keras").exists()


def test_the_demo_leaves_models_key_and_panel(tmp_path, capsys):
    """Two steps mark nothing, which it says by its exit code; documents and panel are there all the same."""
    assert cli.main(["demo", f"--out={tmp_path}/demo", "--steps=2", "--null_keys=20"]) == 1
    assert capsys.readouterr().out.count("correlation ρ = ") == 3
    assert (tmp_path / "demo" / "panel.png").read_bytes().startswith(b"\x89PNG")
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"key.npz", "marked.keras", "pruned.keras", "panel.png"}


def test_the_demo_replaces_nobodys_key_or_model(tmp_path, capsys):
    assert cli.main(["keygen", f"--out={tmp_path}/key.npz", "--owner=Ada"]) == 0
    before = (tmp_path / "key.npz").read_bytes()
    assert cli.main(["demo", f"--out={tmp_path}", "--steps=1"]) == 2
    assert "is there and no demo's" in capsys.readouterr().err and (tmp_path / "key.npz").read_bytes() == before
