"""The product without its checkout: what a wheel holds, and that it serves a program anywhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from watermark.hosts import HOSTS

ROOT = Path(__file__).parents[1]
PROGRAM = """
import watermark
from watermark import checkpoints
assert "elsewhere" in watermark.__file__ and "elsewhere" in str(checkpoints.SHIPPED)
print(watermark.load_host("red").name)
"""


def test_a_wheel_holds_the_hosts_and_a_marked_network(tmp_path):
    """Built from a copy, unpacked elsewhere, asked by a program that does not see the checkout; at most 12 MB."""
    (tmp_path / "copy").mkdir()
    for name in ("setup.py", "watermark_image_dnn.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "copy")
    for name in ("watermark", "checkpoints"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name,
                        ignore=shutil.ignore_patterns("__pycache__", "*-marked", "*-ours-[1-9]-*"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path,
                    tmp_path / "copy"], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 12e6
    with zipfile.ZipFile(wheel) as archive:
        files = [Path(name).name for name in archive.namelist() if name.startswith("watermark/shipped/")]
        archive.extractall(tmp_path / "elsewhere")
        started, = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "watermark = watermark_image_dnn:main" in started
    assert sum("marked" in file for file in files) == 2  # the network, and what is known of it
    for host in HOSTS:
        assert {Path(file).suffix for file in files if file.startswith(f"{host}-host-")} == {".keras", ".json"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(tmp_path / "elsewhere")})
    assert done.returncode == 0 and done.stdout.split() == ["red"], done.stderr
