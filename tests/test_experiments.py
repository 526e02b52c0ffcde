"""Every script: its trial gives finite numbers under the smoke profile, from the bundled images alone."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from watermark import checkpoints, hosts
from watermark.lab.tables import Table

SCRIPTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
TABLES = [path for path in SCRIPTS if "\nTABLE = " in path.read_text()]
FIGURES = [path for path in SCRIPTS if "import figures" in path.read_text()]


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    """As when run by path: a script finds its neighbours."""
    monkeypatch.syspath_prepend(SCRIPTS[0].parent)


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_says_its_command_and_cost(path):
    docstring = _load(path).__doc__
    assert f"python experiments/{path.name}" in docstring
    assert "minute" in docstring or "hour" in docstring


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_tables_trial_gives_what_its_columns_print(path, lab):
    table = _load(path).TABLE
    assert isinstance(table, Table) and table.name == path.stem
    values = table.trial(lab, 0, **table.grid[0])
    assert {column.value for column in table.columns} <= set(values)
    assert np.isfinite([float(value) for value in values.values()]).all()


def test_paper_numbers_belong_to_rows():
    for path in SCRIPTS:
        table = getattr(_load(path), "TABLE", None)
        if table:
            rows = {tuple(row.values()) for row in table.grid}
            assert set(table.paper) <= rows
            assert len(rows) == len(table.grid)


def test_hosts_are_trained_and_measured(lab, capsys, monkeypatch):
    from watermark.lab import runner

    module = _load(next(path for path in SCRIPTS if path.stem == "train_hosts"))
    monkeypatch.setattr(runner, "FLAGS", type("Flags", (), {"hosts": ["dncnn"], "stop_after": 10.0}))
    module.main(lab)
    assert "sample_test: " in capsys.readouterr().out
    entry = checkpoints.read_manifest(lab.workdir / "checkpoints")[lab.plan_host("dncnn").file]
    assert entry["examples"] == 3 * 4 + 2 * 2
    assert set(entry["quality"]["sample_test"]) >= {"psnr", "ssim", "wpsnr"}


def test_public_weights_are_measured_beside_the_hosts(lab, capsys, monkeypatch, tmp_path):
    from watermark.lab import runner

    module = _load(next(path for path in SCRIPTS if path.stem == "evaluate_hosts"))
    flags = {"hosts": ["dncnn"], "weights": None, "stop_after": None, "reuse": False}
    monkeypatch.setattr(runner, "FLAGS", type("Flags", (), flags))
    module.main(lab)
    ours = capsys.readouterr().out
    assert ours.count("dncnn | ours") == 2 and "30.41" in ours and "in place of bsd68" in ours
    hosts.dncnn().save(tmp_path / "public.h5")
    runner.FLAGS.weights = str(tmp_path / "public.h5")
    module.main(lab)
    assert capsys.readouterr().out.count("dncnn | public.h5 ") == 2
    runner.FLAGS.hosts = None
    with pytest.raises(ValueError, match="--hosts=dncnn"):
        module.main(lab)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_figure_is_drawn(path, lab, monkeypatch):
    """Under smoke a visualizer shows noise; what is tested is that every figure comes out, and only there."""
    from watermark.lab import runner

    monkeypatch.setattr(runner, "FLAGS", type("Flags", (), {"hosts": ["dncnn"]}))
    said, module = [], _load(path)
    for axis in ("KEYS", "EPOCHS"):
        monkeypatch.setattr(module, axis, getattr(module, axis, ())[:2], raising=False)
    module.main(dataclasses.replace(lab, say=said.append))
    drawn = [line for line in said if "figures" in line]
    assert drawn and len(drawn) % 2 == 0
    for line in drawn:
        with open(line, "rb") as file:
            assert file.read(8).startswith((b"\x89PNG", b"%PDF"))
