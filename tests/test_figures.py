"""Figures show the numbers that they are drawn from."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from watermark.lab import figures, runner

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def test_every_z_score_is_drawn_where_it_is(monkeypatch):
    """0.8 and -1.3, on which a logarithmic axis would have no place, and 33: within the axis, at their own value."""
    monkeypatch.setattr(sys, "path", [str(EXPERIMENTS), *sys.path])
    spec = importlib.util.spec_from_file_location("fig_detection", EXPERIMENTS / "fig_detection.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scores, shown = [33.0, 0.8, -1.3], []
    records = [({"host": "dncnn", "attack": "pruned", "strength": i}, [{"z_score": z, "verified": z > 6}])
               for i, z in enumerate(scores)]
    monkeypatch.setattr(runner, "records", lambda *arguments: records)
    monkeypatch.setattr(figures, "save", lambda lab, name, figure, note="": shown.append(figure))
    module.main(SimpleNamespace(profile=SimpleNamespace(null_keys=1000)), runner.Options())
    (axis,) = shown[0].axes
    drawn = [float(line.get_xdata()[0]) for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(drawn, scores)
    low, high = axis.get_xlim()
    assert axis.get_xscale() == "linear" and low < min(drawn) and high > max(drawn)


def test_grey_images_say_what_black_and_white_are():
    """By hand, with the minus sign of print."""
    assert figures.grey_note((-1.0, 1.0)) == "Grey images: black is −1 and below, white 1 and above."
