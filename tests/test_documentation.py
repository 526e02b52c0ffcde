"""The notebook runs; the site is built, with its formulas set, its figures there and nothing that is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# In a process of its own: what Jupyter warns of is not this project's.
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute(cwd=".")
nbformat.write(notebook, sys.argv[2])
"""


def test_the_notebook_runs_the_demo(tmp_path):
    """Two steps: no mark yet, but every cell runs, and the panel is shown. The file itself keeps no output."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    source = ROOT / "docs" / "demo.ipynb"
    assert not any(cell.get("outputs") for cell in nbformat.read(source, as_version=4).cells)
    short = {"WATERMARK_DEMO_STEPS": "2", "WATERMARK_DEMO_KEYS": "20", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", EXECUTE, source, tmp_path / "done.ipynb"], cwd=tmp_path,
                          env=os.environ | short, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
               for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "more steps are needed" in text and "rho = " in text
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    for needed in ("mkdocs", "latex2mathml", "mkdocstrings", "material"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "-d", folder], cwd=ROOT, text=True,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return folder


def test_formulas_are_set_without_a_script(site):
    """MathML, as the browser knows it; no TeX is left, and nothing is asked of another server."""
    page = (site / "index.html").read_text()
    assert page.count("<math") == 2 and "\\lVert" not in page and "arithmatex" not in page
    assert not re.search(r'<(script|link)[^>]+(src|href)="https?://[^"]+\.(js|css)"', page)


def test_every_picture_of_a_page_is_on_the_site(site):
    found = 0
    for page in site.rglob("*.html"):
        for source in re.findall(r'<img[^>]+src="([^":]+)"', page.read_text()):
            assert (page.parent / source).resolve().is_file(), (page, source)
            found += 1
    assert found >= 5


def test_the_api_begins_with_the_key_and_shows_types(site):
    """In the order of an owner's work."""
    page = (site / "api" / "index.html").read_text()
    places = [page.index(f'id="watermark.{name}"') for name in (
        "keys.make_key", "embedding.embed", "verification.verify", "commitments", "exporting", "attacks", "metrics")]
    assert places == sorted(places)
    text = re.sub(r"<[^>]+>", "", page)
    assert "seed: int | str" in text and "-> Key" in re.sub(r"&gt;", ">", text)
