"""Figures show the numbers that they are drawn from."""

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

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


def test_curves_are_the_records_beside_the_papers_numbers(lab, monkeypatch):
    """Table VI with two trials of two rates, by hand; the paper's by its table; what has no record is said."""
    monkeypatch.setattr(sys, "path", [str(EXPERIMENTS), *sys.path])
    spec = importlib.util.spec_from_file_location("plot_tables", EXPERIMENTS / "plot_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown, said = {}, []
    monkeypatch.setattr(figures, "save", lambda lab, name, figure, note="": shown.update({name: figure}))
    lab = dataclasses.replace(lab, log=said.append, profile=dataclasses.replace(lab.profile, trials=2))
    module.main(lab, runner.Options(hosts=["dncnn"]))
    assert not shown and any("table7_finetuning: no record yet of 40 of 40 rows" in line for line in said)
    trials = runner.Trials(lab, module.table6.TABLE, runner.Options(hosts=["dncnn"]))
    for row, at in zip(trials.rows, (0, 2), strict=False):
        for seed in (0, 1):
            values = {"distance": (at + seed) * 1e-3, "psnr": 20.0 + at, "ncc": 0.9 + 0.01 * at}
            trials.store.add({"id": trials.identity(row, seed), "row": row, "seed": seed, "values": values,
                              "provenance": {}})
    module.main(lab, runner.Options(hosts=["dncnn"]))
    (name, figure), = shown.items()
    assert name == "pruning"
    d, ncc, psnr = figure.axes
    rings, dashed = (next(line for line in d.lines if test(line)) for test in (
        lambda line: line.get_marker() == "o", lambda line: line.get_linestyle() == "--"))
    np.testing.assert_allclose(rings.get_xydata(), [(0.25, 2.09), (0.3, 2.82), (0.35, 4.48), (0.4, 6.36)])
    np.testing.assert_allclose(dashed.get_ydata(), 6.07, atol=0.01)
    np.testing.assert_allclose(d.containers[0].lines[0].get_xydata(), [(0.25, 0.5), (0.3, 2.5)])
    np.testing.assert_allclose(ncc.containers[0].lines[0].get_xydata()[:, 1], [0.90, 0.92])
    assert any(np.allclose(line.get_ydata(), 0.95) for line in ncc.lines)
    np.testing.assert_allclose(psnr.containers[0].lines[0].get_xydata()[:, 1], [20, 22])


def test_grey_images_say_what_black_and_white_are():
    """By hand, with the minus sign of print."""
    assert figures.grey_note((-1.0, 1.0)) == "Grey images: black is −1 and below, white 1 and above."


@pytest.mark.parametrize("script, flag, words", [
    ("fig3_triggers.py", "--rows=rate=0.3", "--rows is for scripts that make tables"),
    ("visualizer.py", "--pictures=copyright", "--pictures is for scripts that draw figures"),
])
def test_a_flag_that_a_script_takes_no_notice_of_is_refused(script, flag, words):
    done = subprocess.run([sys.executable, EXPERIMENTS / script, "--profile=smoke", flag],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2 and words in done.stderr
