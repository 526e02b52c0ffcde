"""The report as a reader sees it: in a real browser, without a network."""

import shutil
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from watermark import commitments, judgement, keys, report, visualizer

RESULT = {"suspect": "<b>suspect</b>.keras", "suspect_form": "Keras model", "suspect_sha256": "cd" * 32,
          "suspect_bytes": 1234567, "owner": "Ada", "key": "ab" * 32, "rule": "evidence", "verifier": "Court of Arts",
          "date": "2026-01-02T03:04:05+00:00", "command": "watermark verify --key=key.npz --fresh_seed=" + "5e" * 16,
          "watermark": "0.1.0", "versions": {"tensorflow": "2"}, "notes": ["It was asked otherwise."],
          "transcript": [{"time": "2026-01-01T00:00:00", "request_sha256": "1" * 64, "response_sha256": "2" * 64}]}


@pytest.fixture(scope="module")
def pages(owned, tmp_path_factory):
    """Paths of a page on the marked and one on the unmarked model."""
    folder = tmp_path_factory.mktemp("pages")
    findings = commitments.check(owned.key, commitments.commit(owned.key))
    R = visualizer.build_visualizer(owned.key.verification.shape, (64, 64, 1))
    for name, suspect in (("yes", owned.marked), ("no", owned.host)):
        judged = judgement.judge(suspect, owned.key, null_keys=100, findings=findings, unmarked=owned.host)
        report.write_report(folder / f"{name}.html", judged, RESULT | {"notes": judgement.notes(judged)}, R)
    return folder


def test_pages_say_what_was_found_and_keep_the_key(pages, owned):
    yes, no = ((pages / f"{name}.html").read_text() for name in ("yes", "no"))
    assert "Found, and the claim stands, undated.</strong> The suspect carries the owner&#39;s mark" in yes
    assert "Not found.</strong> The owner&#39;s mark was not found" in no
    assert "&lt;b&gt;suspect" in yes and "<b>suspect" not in yes
    assert owned.key.secret not in yes and yes.count("data:image/png") == 4 and "<svg" in yes


def test_pages_say_what_was_asked_by_whom_and_when_and_how_to_repeat_it(pages):
    page = (pages / "yes.html").read_text()
    for fact in ("cd" * 32, "1,234,567 bytes", "Keras model", "Court of Arts", "2026-01-02T03:04:05",
                 "--fresh_seed=5e5e", "6.6 needed with 100 fresh keys", "above 0.95", "unmarked network&#39;s answer",
                 "No time stamp was given: when the commitment was made is not shown", "@media print"):
        assert fact in page, fact
    assert "below 0.95" in (pages / "no.html").read_text()
    for word in ("<dt>K</dt>", "<dt>S₀</dt>", "<dt>S</dt>", "<dt>ρ</dt>"):  # introduced before the numbers
        assert page.index(word) < page.index("The numbers")


def test_the_sentence_on_forgers_stands_only_where_the_facts_say_so(pages, owned):
    assert not any("declared" in (pages / f"{name}.html").read_text().split("The numbers")[0] for name in ("yes", "no"))
    bare = keys.make_key(0, size=16)
    judged = judgement.judge(owned.host, keys.with_verification(bare, owned.host(bare.trigger[None])[0]), null_keys=100,
                             bare_seed=0)
    assert "S may have been declared afterwards" in " ".join(judgement.notes(judged))


def test_pages_without_anything_optional(owned, tmp_path):
    judged = judgement.judge(owned.marked, owned.key, null_keys=0)
    report.write_report(tmp_path / "page.html", judged, RESULT | {"transcript": [], "suspect_sha256": None,
                                                                  "suspect_bytes": None, "owner": "", "verifier": ""})
    page = (tmp_path / "page.html").read_text()
    assert "This was not examined" in page and "No fresh keys were put" in page and "<svg" not in page
    assert "Inconclusive.</strong>" in page and "z is not judged" in page and "not stated" in page


def test_pages_are_drawn_as_ever_whatever_settings_are_about(owned, tmp_path):
    """matplotlib reads those of the current folder, which the other side may have sent; TeX would run its words."""
    judged = judgement.judge(owned.marked, owned.key, null_keys=20, fresh_seed="0")
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red", "image.origin": "lower"}):
        report.write_report(tmp_path / "set.html", judged, RESULT)
    report.write_report(tmp_path / "plain.html", judged, RESULT)
    assert (tmp_path / "set.html").read_text() == (tmp_path / "plain.html").read_text()
    assert "<p>It was asked otherwise.</p>" in (tmp_path / "plain.html").read_text()


def test_other_claims_are_on_the_page(owned, tmp_path):
    judged = judgement.judge(owned.marked, owned.key, null_keys=20)
    report.write_report(tmp_path / "page.html", judged, RESULT, claims=[("'Eve'", "found", "So it is.")],
                        decision="'Ada' committed first.")
    page = (tmp_path / "page.html").read_text()
    assert "Other claims" in page and "So it is." in page and "&#39;Ada&#39; committed first." in page


def _shot(page, shot, width):
    """What Chromium shows of a page in a frame of `width` pixels, [H, W, 3]; headless windows are 500 at least."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no Chromium")
    frame = shot.with_suffix(".html")
    frame.write_text(f'<body style="margin:0"><iframe src="{page.as_uri()}" style="border:0" scrolling="no" '
                     f'width="{width}" height="2400"></iframe>')
    subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    f"--user-data-dir={shot.parent}/profile", f"--window-size={max(width, 600)},2400",
                    f"--screenshot={shot}", frame.as_uri()], check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(shot).convert("RGB"), np.int64)[:, :width]


@pytest.mark.parametrize("width", [900, 400])
@pytest.mark.parametrize(("name", "colour"), [("yes", (0, 115, 92)), ("no", (179, 65, 15))])
def test_a_browser_shows_the_verdict(name, colour, width, pages, tmp_path):
    """The bar beside the verdict is green or red where a reader looks first; text and plot are there, and fit."""
    image = _shot(pages / f"{name}.html", tmp_path / "page.png", width)
    bar = np.argwhere(np.all(np.abs(image[:400, :int(0.15 * width)] - colour) < 6, axis=-1))
    assert len(bar) > 200 and np.ptp(bar[:, 1]) < 20  # upright
    assert np.mean(image[:, :, 0] < 80) > 0.01  # letters
    assert np.any(np.all(np.abs(image - (196, 78, 0)) < 6, axis=-1))  # the owner's key in the plot
    assert np.all(image[600:, -12:] > 200)  # nothing runs out of the page


def test_importing_the_package_leaves_the_backend_of_matplotlib():
    """In a process of its own, whose backend is another."""
    program = "import matplotlib; matplotlib.use('svg'); import watermark.report; print(matplotlib.get_backend())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip().lower() == "svg"


def test_the_line_in_the_plot_is_the_bar_of_the_verdict(owned):
    """Of a suspect that gives all images back but one pixel, whose fresh keys have a rho of 0 to the last."""
    judged = judgement.judge(lambda images: np.clip(images, 0.0, 0.99), owned.key, null_keys=100)
    (bar, own), verdict = report._evidence(judged).axes[0].lines, judged.verdict
    assert (own.get_xdata()[0] >= bar.get_xdata()[0]) == (verdict.z_score >= verdict.z_needed)
