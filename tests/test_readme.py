"""The README's numbers are those of the records, and its commands those of the project."""

import json
import pkgutil
import re
import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest

from watermark.hosts import HOSTS
from watermark.lab.lab import Lab
from watermark.lab.profiles import PROFILES
from watermark.lab.runner import Options, Trials

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _committed(path):
    """A file as the project ships it; a user's own run of the experiment replaces the one in the folder."""
    shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip(f"not in a git checkout that has {path}")
    return shown.stdout


def _cells(host, rate):
    """{column: cells} of a row of Table VI: those of both its tables, ours first where the paper's stands beside it."""
    cells, head = {}, None
    for line in README.split("## Table VI")[1].split("\nProfile")[0].splitlines():
        row = [cell.strip() for cell in line.split("|")[1:-1]]
        if row[:2] == ["host", "rate"]:
            head = row
        elif row[:2] == [host, rate]:
            cells |= {name: cell for name, cell in zip(head, row, strict=True) if name != "paper"}
    return cells


@pytest.mark.parametrize("rate", [0.25, 0.30, 0.35, 0.40])
def test_every_cell_is_the_mean_of_records(rate):
    records = map(json.loads, _committed("results/quick/table6_pruning.jsonl").splitlines())
    found = [r["values"] for r in records if r["row"] == {"host": "dncnn", "scheme": "ours", "rate": rate}]
    assert len(found) >= 3
    cells = _cells("DnCNN", f"{rate:.2f}")
    for title, name, scale, form in (("PSNR (dB)", "psnr", 1, ".2f"), ("d (10⁻³)", "distance", 1e3, ".2f"),
                                     ("NCC", "ncc_residual", 1, ".4f"), ("ρ", "rho", 1, ".3f")):
        values = [v[name] * scale for v in found]
        assert cells[title] == f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"
    assert cells["d ≤ η"] == f"{sum(v['verified'] for v in found)}/{len(found)}"


def test_the_table_is_what_the_command_prints(tmp_path):
    """With the line of what is the same in every row; the baselines' rows are for RESULTS.md."""
    table = runpy.run_path(str(ROOT / "experiments" / "table6_pruning.py"))["TABLE"]
    (tmp_path / "results/quick").mkdir(parents=True)
    (tmp_path / "results/quick/table6_pruning.jsonl").write_text(_committed("results/quick/table6_pruning.jsonl"))
    trials = Trials(Lab.at(tmp_path, PROFILES["quick"]), table, Options(hosts=list(HOSTS)))
    printed = trials.text().split("\n\nOf the paper's cells")[0].split("\n\n", 1)[1]
    assert "scheme: ours" in printed and printed in README


def test_tables_of_numbers_are_narrow_enough_for_github():
    """11 columns, and 100 characters of cells, which do not wrap as words do, need no scroll bar there."""
    for text in (README.split("## Table VI")[1].split("\nProfile")[0], (ROOT / "RESULTS.md").read_text()):
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("| ") else []
            assert len(cells) <= 11, line
            if cells and not cells[0].startswith("host"):
                assert sum(map(len, cells)) <= 100, line


def test_shipped_checkpoints_are_what_is_said_of_them():
    from watermark.files import sha256

    for path in (ROOT / "checkpoints").glob("*.keras"):
        assert sha256(path) == json.loads(path.with_suffix(".json").read_text())["sha256"]


def test_what_the_api_page_names_exists():
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert len(names) >= 5
    for name in names:
        assert pkgutil.resolve_name(name).__doc__, name


def test_every_page_is_in_the_sites_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    assert all(page.name in menu for page in (ROOT / "docs").glob("*.md"))


def test_files_named_in_the_readme_exist():
    paths = re.findall(r"`((?:experiments|examples|benchmarks|docs|results)/[\w/.]+)", README)
    assert len(paths) >= 5
    for path in paths:
        assert (ROOT / path).exists(), path
