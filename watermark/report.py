"""A verification as one self-contained HTML page that someone who is no expert can read."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import keras
import numpy as np
from matplotlib import rc_context, rcdefaults
from matplotlib.figure import Figure
from matplotlib.image import imsave

from watermark import judgement, visualizer
from watermark.evidence import LEAST_KEYS
from watermark.files import write
from watermark.judgement import Judgement

CORNER = 12  # pixels
OURS, OTHERS, NEEDED = "#c44e00", "#9aa5b1", "#1c2733"


def write_report(path: str | Path, judged: Judgement, result: dict, R: keras.Model | None = None,
                 claims: Sequence[tuple[str, str, str]] = (), decision: str = "") -> None:
    """Writes the page, whole or not at all.

    Args:
      path: of the `.html` file.
      judged: a `Judgement`.
      result: what `watermark verify --json` prints.
      R: the owner's visualizer, whose picture of the answer is shown; or None.
      claims: (name, outcome, statement) of further keys that were put to the suspect.
      decision: whose claim prevails, in a sentence, where there are further keys.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("watermark", "pages"), autoescape=True,
                                     undefined=jinja2.StrictUndefined)
    with rc_context():
        rcdefaults()  # the folder that it is called in may hold settings
        page = environment.get_template("report.html").render(
            judged=judged, verdict=judged.verdict, result=result, heading=judgement.heading(judged),
            bar=judgement.bar(judged.verdict), rests_on=judgement.rests_on(judged.verdict),
            least=LEAST_KEYS, claims=claims, decision=decision, corner=_corner(judged), images=_images(judged, R),
            evidence=_svg(_evidence(judged)) if len(judged.null) > 1 else None)
    write(path, page.encode("utf-8", "xmlcharrefreplace"))


def _images(judged, R):
    """[(caption, data URL)] of what was expected and answered: a corner, since who has the whole of S can aim at it."""
    S, side = judged.key.verification, _corner(judged)
    limits, corner = (float(S.min()), float(S.max())), np.s_[:side, :side]
    answers = [("expected: S", S), ("the suspect's answer: S′", judged.response)]
    if judged.unmarked_response is not None:
        answers.append(("the unmarked network's answer", judged.unmarked_response))
    shown = [(caption, image[corner], limits) for caption, image in answers]
    if R is not None:
        shown.append(("what the owner's visualizer makes of S′", visualizer.show(R, judged.response), (0.0, 1.0)))
    return [(caption, _png(image, limits)) for caption, image, limits in shown]


def _corner(judged):
    """Side of the corner that is shown, in pixels: a quarter of S at most."""
    return min(CORNER, *(side // 2 for side in judged.key.verification.shape[:2]))


def _png(image, limits):
    file = io.BytesIO()
    low, high = limits
    grey = (image - low) / max(high - low, 1e-9)
    imsave(file, grey[..., 0] if grey.shape[-1] == 1 else grey.clip(0, 1), vmin=0.0, vmax=1.0, cmap="gray",
           format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _evidence(judged):
    """The key's rho among those of the fresh keys."""
    null, verdict = judged.null, judged.verdict
    figure = Figure(figsize=(5.2, 2.2), layout="constrained")
    axis = figure.subplots()
    axis.hist(null, bins=min(40, max(5, len(null) // 5)), color=OTHERS, label=f"{len(null)} fresh keys")
    if verdict.null_keys >= LEAST_KEYS and verdict.z_score:
        deviation = (verdict.rho - np.mean(null)) / verdict.z_score  # the floor under it is in z
        axis.axvline(np.mean(null) + verdict.z_needed * deviation, color=NEEDED, ls="--", lw=1, label="needed")
    axis.axvline(verdict.rho, color=OURS, lw=2, label="the owner's key")
    axis.set(yticks=[], xlabel="correlation ρ with what the key asks for",
             xlim=(min(-0.1, float(null.min()) - 0.05), 1.02))
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)  # above, off every line
    return figure


def _svg(figure):
    with rc_context({"svg.hashsalt": "watermark", "font.size": 10}):
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()[file.getvalue().index("<svg"):]
