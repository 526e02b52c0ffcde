"""A verification as one self-contained HTML page that someone who is no expert can read."""

import base64
import io
from datetime import datetime, timezone

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from watermark import visualizer
from watermark.files import whole
from watermark.judgement import rests_on

matplotlib.use("Agg")
CORNER = 12  # pixels


def write_report(path, judged, result, R=None):
    """Writes the page, whole or not at all.

    Args:
      path: of the `.html` file.
      judged: a `Judgement`.
      result: what `watermark verify --json` prints.
      R: the owner's visualizer, whose picture of the answer is shown; or None.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("watermark", "pages"), autoescape=True,
                                     undefined=jinja2.StrictUndefined)
    page = environment.get_template("report.html").render(
        judged=judged, verdict=judged.verdict, result=result, rests_on=rests_on(judged.verdict),
        images=_images(judged, R), evidence=_svg(_evidence(judged)) if len(judged.null) else None,
        now=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"))
    with whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _images(judged, R):
    """[(caption, data URL)] of what was expected and answered: a corner, since who has the whole of S can aim at it."""
    S = judged.key.verification
    limits, corner = (float(S.min()), float(S.max())), np.s_[:CORNER, :CORNER]
    words = f"corner of {CORNER}×{CORNER} pixels" if max(S.shape[:2]) > CORNER else "whole"
    shown = [(f"expected answer S ({words})", S[corner], limits), (f"the suspect's answer S′ ({words})",
                                                                  judged.response[corner], limits)]
    if R is not None:
        shown.append(("what the owner's visualizer makes of S′", visualizer.show(R, judged.response), (0.0, 1.0)))
    return [(caption, _png(image, limits)) for caption, image, limits in shown]


def _png(image, limits):
    file = io.BytesIO()
    low, high = limits
    grey = (image - low) / max(high - low, 1e-9)
    matplotlib.image.imsave(file, grey[..., 0] if grey.shape[-1] == 1 else grey.clip(0, 1), vmin=0.0, vmax=1.0,
                            cmap="gray", format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _evidence(judged):
    """The key's rho among those of the fresh keys."""
    figure = Figure(figsize=(6.4, 2.1), layout="constrained")
    axis = figure.subplots()
    axis.hist(judged.null, bins=min(40, max(5, len(judged.null) // 5)), color="#9aa5b1",
              label=f"{len(judged.null)} fresh keys")
    axis.axvline(judged.verdict.rho, color="#c44e00", lw=2, label="the owner's key")
    axis.set(yticks=[], xlabel="correlation ρ of what the suspect does to a key's image with what the key asks for",
             xlim=(min(-0.1, float(judged.null.min()) - 0.05), 1.02))
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, loc="upper center")
    return figure


def _svg(figure):
    with matplotlib.rc_context({"svg.hashsalt": "watermark", "font.size": 9}):
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()[file.getvalue().index("<svg"):]
