"""Every script: its trial gives finite numbers under the smoke profile, from the bundled images alone."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from watermark.lab.tables import Table

SCRIPTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))


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


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_tables_trial_gives_what_its_columns_print(path, lab):
    module = _load(path)
    if not hasattr(module, "TABLE"):
        pytest.skip("not a table")
    table = module.TABLE
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
    monkeypatch.setattr(runner, "FLAGS", type("Flags", (), {"hosts": ["dncnn"]}))
    module.main(lab)
    assert "sample_test: " in capsys.readouterr().out


def test_the_picture_is_drawn(lab, monkeypatch):
    from watermark.lab import runner

    module = _load(next(path for path in SCRIPTS if path.stem == "picture_mark"))
    monkeypatch.setattr(runner, "FLAGS", type("Flags", (), {"hosts": ["dncnn"]}))
    module.main(lab)
    assert {p.name for p in (lab.workdir / "results/smoke/figures").iterdir()} == {"mark.png", "mark.pdf"}
