"""Every script: its trial gives finite numbers under the smoke profile, from the bundled images alone."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from watermark.lab import elsewhere, runner, scripts
from watermark import checkpoints, hosts
from watermark.lab.runner import Options
from watermark.lab.tables import Table
from watermark.recipes import Recipe

SCRIPTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
TABLES = [path for path in SCRIPTS if "\nTABLE = " in path.read_text()]
FROM_RECORDS = ("plot_tables",)  # figures that come from records alone: tests/test_figures.py
FIGURES = [path for path in SCRIPTS if "import figures" in path.read_text() and path.stem not in FROM_RECORDS]


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
    row = table.grid[0]
    subjects = {name: lab.resolve(spec) for name, spec in table.subjects(lab.profile, 0, row).items()}
    few = list(subjects.values())[:4]  # of a row with many models these stand for all: each would be traced anew
    subjects = {name: spec if spec in few else few[-1] for name, spec in subjects.items()}
    values = table.measure.values(lab, subjects, row)
    assert {column.value for column in table.measure.columns if not column.optional} <= set(values)
    assert np.isfinite([float(value) for value in values.values()]).all()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_is_there_once_and_is_one_line_of_the_papers_at_most(path):
    table = _load(path).TABLE
    rows = [tuple(row.items()) for row in table.grid]
    assert len(set(rows)) == len(rows) and all("host" in row for row in table.grid)
    for row in table.grid:
        table.paper.find(row)  # a row that leaves open which of the paper's lines is meant raises


def test_a_table_of_the_baselines_alone_needs_no_flag():
    """Ours is the default where a table has it, or has no schemes; else all that it has."""
    usual = {path.stem: scripts._usual([_load(path).TABLE]) for path in TABLES}
    assert usual.pop("evidence_baselines") == ["adi", "deepsigns"] and set(map(tuple, usual.values())) == {("ours",)}


def test_what_the_paper_prints_is_found():
    """By hand, of each table that the paper has."""
    found = {path.stem: _load(path).TABLE for path in TABLES}
    assert found["table6_pruning"].paper.find({"host": "dncnn", "scheme": "ours", "rate": 0.3})["distance"] == 2.82e-3
    hosts = found["evaluate_hosts"].paper.find
    assert hosts({"host": "dncnn", "weights": "ours", "test_set": "set12", "scale": ""})["psnr"] == 30.41
    assert hosts({"host": "vdsr", "weights": "ours", "test_set": "set14", "scale": 3})["psnr"] == 29.66
    time = found["table13_time"].paper.find({"host": "dncnn", "scheme": "adi", "size": 160})
    assert time["embed_to_40"] == pytest.approx(28.65 / 25.35) and time["embed_to_ours"] == pytest.approx(28.65 / 24.81)
    assert time["verify_to_ours"] == pytest.approx(3.15 / 2.84)


def test_hosts_are_trained_and_measured(lab, capsys):
    module = _load(next(path for path in SCRIPTS if path.stem == "train_hosts"))
    module.main(lab, Options(hosts=["dncnn"], stop_after=10.0))
    assert "sample_test: " in capsys.readouterr().out
    known = checkpoints.describe(lab.cache.path(lab.resolve(lab.profile.host("dncnn")).name))
    assert known["examples"] == 3 * 4 + 2 * 2
    assert set(known["quality"]["sample_test"]) >= {"psnr", "ssim", "wpsnr"}
    assert (lab.workdir / "results/smoke/training/dncnn.json").exists()


def test_hosts_are_trained_further_in_a_folder_of_their_own(lab, capsys):
    """It goes on from the host that tables are of, which stays; other hosts are refused first."""
    module = _load(next(path for path in SCRIPTS if path.stem == "train_hosts"))
    lab = dataclasses.replace(lab, cache=dataclasses.replace(lab.cache, folder=lab.workdir / "other" / "checkpoints"))
    with pytest.raises(ValueError, match="profile smoke trains dncnn further, not red"):
        module.main(lab, Options(hosts=["red"]), longer=True)
    before = lab.resolve(lab.profile.host("dncnn"))
    lab.get(before)
    module.main(lab, Options(), longer=True)
    assert "sample_test: " in capsys.readouterr().out
    (further,) = checkpoints.models(lab.cache.folder / "longer").values()
    assert further["examples"] == 3 * 4 + 2 * 2 + 2 and further["recipe"][2]["average"] == 0.5
    assert set(checkpoints.models(lab.cache.folder)) == {f"{before.name}.keras"}
    assert not (lab.folder(before) / "phase2").exists()
    points = json.loads((lab.workdir / "results/smoke/training/dncnn-longer.json").read_text())
    assert points[-1][0] == 6


def test_a_host_trained_elsewhere_is_kept_under_the_recipe_that_made_it(lab, tmp_path, capsys):
    module = _load(next(path for path in SCRIPTS if path.stem == "train_hosts"))
    recipe = Recipe(6, 2, 2e-3, patch=16, optimizer="muon", average=0.9)
    lab = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, hosts={"dncnn": (recipe,)}))
    how = {"steps": 6, "batch_size": 2, "patch": 16, "learning_rate": 2e-3, "optimizer": "muon", "clip": None,
           "average": 0.9, "growth": [], "bfloat16": True, "seed": 0}
    row = {"step": 6, "seconds": 1.5, "pixels": 3072, "loss": 1.0, "psnr": 20.0, "psnr_average": 21.0}
    options = Options(hosts=["dncnn"])
    for seed, name in ((0, "dncnn"), (1, "dncnn-1")):
        with pytest.raises(ValueError, match=f"no finished {name};"):
            module.main(lab, options, tmp_path, seed)
    model = hosts.fold_batch_norm(hosts.HOSTS["dncnn"].build())
    model.save(tmp_path / "dncnn.keras")
    for changes in ({"steps": 7}, {"growth": [[0.8, 2]]}, {"seed": 1}):
        (tmp_path / "dncnn.json").write_text(json.dumps({"course": how | changes, "rows": [row]}))
        with pytest.raises(ValueError, match="another training than profile smoke has"):
            module.main(lab, options, tmp_path)
    for told in ("{", "[]", "{}", json.dumps({"course": {}, "rows": [row]}), json.dumps({"course": how, "rows": []})):
        (tmp_path / "dncnn.json").write_text(told)
        with pytest.raises(elsewhere.ElsewhereError, match="dncnn.json: expected what train_hosts_jax.py"):
            module.main(lab, options, tmp_path)
    (tmp_path / "dncnn.json").write_text(json.dumps({"course": how, "rows": [row]}))
    lost = hosts.fold_batch_norm(hosts.HOSTS["dncnn"].build())
    lost.set_weights([np.full_like(w, np.nan) for w in lost.get_weights()])
    for other, said in ((hosts.HOSTS["red"].build(), "is no folded dncnn"), (lost, "weights that are not finite")):
        other.save(tmp_path / "dncnn.keras")
        with pytest.raises(elsewhere.ElsewhereError, match=said):
            module.main(lab, options, tmp_path)
    model.save(tmp_path / "dncnn.keras")
    module.main(lab, options, tmp_path)
    assert "dB" in capsys.readouterr().out
    kept = lab.get(lab.profile.host("dncnn"))
    for a, b in zip(kept.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert json.loads((lab.workdir / "results/smoke/training/dncnn.json").read_text()) == [[6, 21.0]]
    with pytest.raises(ValueError, match="kept already"):
        module.main(lab, options, tmp_path)


def test_public_weights_are_measured_beside_the_hosts(lab, capsys, tmp_path):
    module = _load(next(path for path in SCRIPTS if path.stem == "evaluate_hosts"))
    module.main(lab, Options(hosts=["dncnn"]))
    ours = capsys.readouterr().out
    assert "host: DnCNN; weights: ours" in ours and "30.41" in ours and "in place of bsd68" in ours
    weights = str(tmp_path / "public.h5")
    hosts.get_host("dncnn").build().save(weights)  # as small as the lab's
    module.main(lab, Options(hosts=["dncnn"]), weights)
    assert "host: DnCNN; weights: public.h5 " in capsys.readouterr().out
    with pytest.raises(ValueError, match="--hosts=dncnn"):
        module.main(lab, Options(), weights)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_figure_is_drawn(path, lab, monkeypatch):
    """Under smoke a visualizer shows noise; what is tested is that every figure comes out, and only there."""
    said, module = [], _load(path)
    monkeypatch.setattr(runner, "RESULTS", lab.workdir / "results")
    for axis in ("KEYS", "EPOCHS"):
        monkeypatch.setattr(module, axis, getattr(module, axis, ())[:2], raising=False)
    lab.get(lab.profile.host("dncnn"))  # fig8 shows the hosts that are there
    module.main(dataclasses.replace(lab, log=said.append), Options(hosts=["dncnn"]))
    drawn = [line for line in said if "figures" in line]
    assert drawn and len(drawn) % 2 == 0
    for line in drawn:
        assert Path(line).is_relative_to(lab.workdir)
        with open(line, "rb") as file:
            assert file.read(8).startswith((b"\x89PNG", b"%PDF"))


def test_no_greeting_comes_before_a_scripts_own_words():
    """Every script imports the lab first, where TensorFlow is silenced, or what runs where none is installed."""
    for path in SCRIPTS:
        imports = re.findall(r"^(?:from|import) (watermark\S*|\w+_\w+)", path.read_text(), re.MULTILINE)
        first = imports[0] if imports else "watermark.lab"
        silent = first in ("watermark.lab", "watermark.jaxtraining")
        assert silent or (path.parent / f"{first}.py").exists(), path
