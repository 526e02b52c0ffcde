"""The report as a reader sees it: in a real browser, without a network."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from watermark import commitments, judgement, report, visualizer

RESULT = {"suspect": "<b>suspect</b>.keras", "owner": "Ada", "key": "ab" * 32, "rule": "evidence", "watermark": "0.1.0",
          "versions": {"tensorflow": "2"},
          "transcript": [{"time": "2026-01-01T00:00:00", "request_sha256": "1" * 64, "response_sha256": "2" * 64}]}


@pytest.fixture(scope="module")
def pages(owned, tmp_path_factory):
    """Paths of a page on the marked and one on the unmarked model."""
    folder = tmp_path_factory.mktemp("pages")
    findings = commitments.check(owned.key, commitments.commit(owned.key))
    R = visualizer.build_visualizer(owned.key.verification.shape, (64, 64, 1))
    for name, suspect in (("yes", owned.marked), ("no", owned.host)):
        judged = judgement.judge(suspect, owned.key, null_keys=100, findings=findings, unmarked=owned.host)
        report.write_report(folder / f"{name}.html", judged, RESULT, R)
    return folder


def test_pages_say_what_was_found_and_keep_the_key(pages, owned):
    yes, no = ((pages / f"{name}.html").read_text() for name in ("yes", "no"))
    assert "Verified.</strong> The suspect carries the owner&#39;s mark" in yes
    assert "Not verified.</strong> The owner&#39;s mark was not found" in no
    assert "&lt;b&gt;suspect" in yes and "<b>suspect" not in yes
    assert owned.key.secret not in yes and yes.count("data:image/png") == 3 and "<svg" in yes


def test_pages_without_anything_optional(owned, tmp_path):
    judged = judgement.judge(owned.marked, owned.key, null_keys=0)
    report.write_report(tmp_path / "page.html", judged, RESULT | {"transcript": []})
    page = (tmp_path / "page.html").read_text()
    assert "This was not examined" in page and "No fresh keys were put" in page and "<svg" not in page


@pytest.mark.parametrize(("name", "colour"), [("yes", (0, 115, 92)), ("no", (179, 65, 15))])
def test_a_browser_shows_the_verdict(name, colour, pages, tmp_path):
    """The bar beside the verdict is green or red where a reader looks first, and text and plot are there."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no Chromium")
    shot = tmp_path / "page.png"
    subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    f"--user-data-dir={tmp_path}/profile", "--window-size=900,1600", f"--screenshot={shot}",
                    (pages / f"{name}.html").as_uri()], check=True, capture_output=True, timeout=120)
    image = np.asarray(Image.open(shot).convert("RGB"), np.int64)
    bar = np.argwhere(np.all(np.abs(image[:400] - colour) < 6, axis=-1))
    assert len(bar) > 200 and np.ptp(bar[:, 1]) < 20  # upright
    assert np.mean(image[:, :, 0] < 80) > 0.01  # letters
    assert np.any(np.all(np.abs(image - (196, 78, 0)) < 6, axis=-1))  # the owner's key in the plot
    assert np.all(image[:, -30:] > 200) or np.all(image[5:, 5:20] == 255)  # nothing runs out of the page


