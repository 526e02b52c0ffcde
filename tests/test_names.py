"""The notebook extension of the same name: found wherever it stands, said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _start(tmp_path):
    """`watermark --help` where what lies in `tmp_path` comes before this project."""
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    return subprocess.run([sys.executable, "-m", "watermark_image_dnn", "--help"], cwd=tmp_path, capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": path})


def _distribution(tmp_path):
    folder = tmp_path / "watermark-2.5.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: watermark\nVersion: 2.5.0\n")


def _one_line(done, begin):
    assert done.stderr.startswith(begin) and done.stderr.count("\n") == 1, done.stderr
    assert "venv" in done.stderr


@pytest.mark.parametrize("source", ["from watermark.watermark import *\n", "__version__ = '2.5.0'\n"])
def test_a_package_that_hides_ours_is_an_error(tmp_path, source):
    """As installed, without the notebook that it imports, and with it."""
    (tmp_path / "watermark").mkdir()
    (tmp_path / "watermark" / "__init__.py").write_text(source)
    done = _start(tmp_path)
    assert done.returncode == 2 and not done.stdout
    _one_line(done, "error: `import watermark` finds another package")


def test_one_that_is_installed_beside_ours_is_a_note(tmp_path):
    _distribution(tmp_path)
    done = _start(tmp_path)
    assert done.returncode == 0 and "keygen" in done.stdout
    _one_line(done, "note: the notebook extension `watermark` 2.5.0 is installed here too")


def test_without_it_nothing_is_said(tmp_path):
    done = _start(tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "keygen" in done.stdout
