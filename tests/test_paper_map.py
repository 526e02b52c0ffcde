"""docs/paper_map.md: every table and figure of the paper, its script, and as many trials as there are records."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "paper_map.md").read_text()
LINES = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")]
SCRIPTS = {script.strip("`"): (trials, state) for _, script, trials, state in LINES}
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII")


def test_it_has_every_table_and_figure_of_the_paper():
    """By hand: thirteen tables, nine figures, three in the supplement."""
    named = [what for what, *_ in LINES]
    expected = [*(f"Table {n}. " for n in NUMERALS), *(f"Fig. {n}: " for n in range(1, 10)),
                *(f"Suppl. Fig. {n}: " for n in range(1, 4))]
    for begin in expected:
        assert sum(what.startswith(begin) for what in named) == 1, begin


def test_it_has_every_script_of_a_table_or_figure_and_no_other():
    there = {path.name for path in (ROOT / "experiments").glob("*.py")
             if "\nTABLE = " in path.read_text() or re.match(r"fig[S\d]", path.name)}
    assert set(SCRIPTS) - {"script", "–"} == there


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("table*.py")), ids=lambda path: path.stem)
def test_trials_are_as_many_as_records(path):
    """Counted from the lines of the file itself: the fewest and the most seeds of a row that has any."""
    trials, state = SCRIPTS[path.name]
    records = ROOT / "results" / "quick" / f"{path.stem}.jsonl"
    if not records.exists():
        assert (trials, state) == ("–", "to be made")
        return
    made = {(json.dumps(r["row"]), r["seed"]) for r in map(json.loads, records.read_text().splitlines())}
    counts = Counter(row for row, _ in made).values()
    fewest, most = min(counts), max(counts)
    assert trials == (f"{fewest}" if fewest == most else f"{fewest} to {most}")
    assert state.startswith(f"{len(counts)} of ")


def test_pictures_that_it_names_are_there():
    names = re.findall(r"made, `(\w+\.png)`", PAGE)
    assert len(names) >= 3
    for name in names:
        assert (ROOT / "results" / "quick" / "figures" / name).exists()
