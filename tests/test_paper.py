"""The paper's printed numbers: all of them, as printed, each found by its axes and by nothing else."""

import hashlib
import itertools
import json
from pathlib import Path

import pytest

from watermark.lab import paper as module
from watermark.lab.paper import Line, Paper, PaperError, paper, tables

ROOT = Path(__file__).parents[1]
CHECKED = ROOT.parent / "shared" / "paper" / "tables.json"  # typed from the paper, and checked against its text
PRINTED = [name for name in tables() if name.startswith("table")]
ETA, NCC = 6.07e-3, 0.95


def _cells(name):
    """{(axes, value's name): number} of one table."""
    return {(frozenset(line.axes.items()), value): number
            for line in paper(name).lines for value, number in line.values.items()}


def test_the_thirteen_tables_have_1134_cells():
    counts = [len(_cells(name)) for name in PRINTED]  # by hand: lines times columns
    assert counts == [90, 48, 32, 20, 20, 144, 360, 36, 80, 64, 64, 32, 144]
    assert sum(counts) == 1134
    assert len(_cells("pairs_uniqueness")) == 6 and len(_cells("fig9_robustness")) == 16


def test_no_cell_has_changed_since_it_was_checked():
    """The digest as it was where `test_equals_the_checked_file` passed, for machines without that file."""
    cells = sorted(json.dumps([name, sorted(axes), value, number])
                   for name in PRINTED for (axes, value), number in _cells(name).items())
    assert hashlib.sha256("\n".join(cells).encode()).hexdigest()[:12] == "c21ee7947fc2"


# Read off the paper's pages by eye, one or two of each table.
SPOTS = [
    ("table1_fidelity_denoising", {"host": "red", "lam": 1e-2, "test_set": "polyu"},
     {"psnr": 36.86, "ssim": 0.950, "wpsnr": 43.96}),
    ("table2_fidelity_sr", {"host": "srdncnn", "marked": False, "scale": 4},
     {"psnr": 27.83, "ssim": 0.764, "wpsnr": 34.91}),
    ("table3_fidelity_schemes", {"host": "vdsr", "scheme": "deepsigns"}, {"psnr": 29.83, "wpsnr": 36.92}),
    ("table4_uniqueness_unmarked", {"host": "vdsr", "keys": 600}, {"distance": 9.4e-3}),
    ("table5_uniqueness_marked", {"host": "red", "keys": 1000}, {"distance": 7.23e-3}),
    ("table5_uniqueness_marked", {"host": "srdncnn", "keys": 200}, {"distance": 7.42e-3}),
    ("table6_pruning", {"host": "srdncnn", "scheme": "ours", "rate": 0.40},
     {"psnr": 29.07, "distance": 6.73e-3, "verified": False, "ncc": 0.9494, "ncc_verified": False}),
    ("table6_pruning", {"host": "red", "scheme": "deepsigns", "rate": 0.08}, {"ncc": 0.9790, "ncc_verified": True}),
    ("table7_finetuning", {"host": "dncnn", "scheme": "ours", "data": "original", "epochs": 100},
     {"psnr": 30.41, "distance": 3.12e-3, "verified": True, "ncc": 0.9938, "ncc_verified": True}),
    ("table7_finetuning", {"host": "vdsr", "scheme": "adi", "data": "new", "epochs": 25},
     {"ncc": 0.6926, "ncc_verified": False}),
    ("table8_overwriting", {"host": "red", "scheme": "ours"},
     {"psnr": 30.27, "distance": 3.47e-3, "verified": True, "ncc": 0.9779, "ncc_verified": True}),
    ("table9_multiple_overwriting", {"host": "srdncnn", "keys": 4},
     {"psnr": 30.10, "distance": 4.30e-3, "verified": True, "ncc": 0.9803}),
    ("table10_capacity_denoising", {"host": "dncnn", "size": 480, "test_set": "set12"},
     {"psnr": 30.15, "ssim": 0.8541}),
    ("table11_capacity_sr", {"host": "srdncnn", "size": 600, "scale": "mean"}, {"psnr": 29.39}),
    ("table12_capacity_schemes", {"host": "red", "scheme": "deepsigns", "size": 600}, {"psnr": 23.48}),
    ("table13_time", {"host": "dncnn", "scheme": "ours", "size": 40}, {"embed_seconds": 22.70 * 60,
                                                                       "verify_seconds": 2.77}),
    ("pairs_uniqueness", {"host": "red", "other": "red", "compared": "updated_keys"}, {"distance": 8.04e-3}),
    ("fig9_robustness", {"picture": "sign", "attack": "finetune", "data": "new", "epochs": 50}, {"psnr": 29.64}),
    ("text", {"of": "eta"}, {"value": 6.07e-3}),
]


@pytest.mark.parametrize(("name", "row", "printed"), SPOTS, ids=lambda value: value if isinstance(value, str) else "")
def test_spots_as_printed_whatever_the_order_of_the_axes(name, row, printed):
    for order in itertools.permutations(row.items()):
        assert paper(name).find(dict(order)) == pytest.approx(printed)


def test_spots_leave_out_no_table():
    assert {name for name, _, _ in SPOTS} == set(tables())


@pytest.mark.parametrize("name", tables())
def test_every_line_is_found_by_its_axes_and_no_other_answers(name):
    for line in paper(name).lines:
        assert paper(name).find(line.axes) == line.values  # raises where two answer
        assert paper(name).find({**line.axes, **line.implied, "precision": "bfloat16"}) == line.values
    lines = [frozenset(line.axes.items()) for line in paper(name).lines]
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("name", PRINTED)
def test_printed_verdicts_follow_the_printed_rules(name):
    for line in paper(name).lines:  # NCC > .95 is strict: .9500 fails in Table VI
        values = line.values
        assert values.get("verified") in (None, values.get("distance", 1.0) <= ETA), line
        assert values.get("ncc_verified") in (None, values.get("ncc", 0.0) > NCC), line
        assert 10 < values.get("psnr", 30) < 60 and 0 < values.get("ssim", 0.5) < 1, line
        assert 1e-4 < values.get("distance", 1e-3) < 0.02, line


def _theirs(name, row):
    """Our axes and values of one row of the checked file."""
    number = name.removeprefix("table")
    row = {key: value for key, value in row.items() if key not in ("note", "rate_printed", "data_set", "embed_minutes")}
    if number in ("3", "8"):
        row.pop("test_set" if number == "3" else "keys")
    if row.get("scale") == "average":
        row["scale"] = "mean"
    names = {"psnr", "ssim", "wpsnr", "distance", "verified", "ncc", "embed_seconds", "verify_seconds"}
    baselines = {key for key in row if key.startswith("ncc_")}
    axes = {key: value for key, value in row.items() if key not in names | baselines}
    ours = {"scheme": "ours"} if baselines else {}
    for key in row.keys() & names:
        yield axes | ours, key, row[key]
    for key in baselines:
        value, _, scheme = key.rpartition("_")
        yield axes | {"scheme": scheme}, value, row[key]


@pytest.mark.skipif(not CHECKED.exists(), reason=f"{CHECKED} is not on this machine")
@pytest.mark.parametrize("name", PRINTED)
def test_equals_the_checked_file(name):
    number = name.split("_")[0]
    rows = json.loads(CHECKED.read_text())[number]
    assert _cells(name) == {(frozenset(axes.items()), value): cell
                            for row in rows for axes, value, cell in _theirs(number, row)}


@pytest.mark.skipif(not CHECKED.exists(), reason=f"{CHECKED} is not on this machine")
def test_the_other_numbers_equal_the_checked_file():
    data = json.loads(CHECKED.read_text())
    for name, key, value in (("pairs_uniqueness", "pairs", "distance"), ("fig9_robustness", "fig9", "psnr")):
        theirs = [row[value] for row in data[key] if row[value] is not None]
        assert sorted(line.values[value] for line in paper(name).lines) == sorted(theirs)


PRUNED = {"host": "dncnn", "scheme": "ours", "rate": 0.35}


def test_a_row_that_contradicts_the_paper_finds_nothing():
    table6, table7 = paper("table6_pruning"), paper("table7_finetuning")
    assert table6.find(PRUNED | {"test_set": "set12"})
    for other in ({"rate": 0.5}, {"scheme": "none"}, {"test_set": "bsd68"}, {"host": "unet"}):
        assert table6.find(PRUNED | other) == {}
    tuned = {"host": "red", "scheme": "ours", "data": "new", "epochs": 10}
    assert table7.find(tuned) == table7.find(tuned | {"rate": "paper"}) != {}
    assert table7.find(tuned | {"rate": "hard"}) == {}
    assert paper("table9_multiple_overwriting").find({"host": "red", "keys": 2, "scheme": "adi"}) == {}


def test_a_computed_rate_is_found():
    assert 0.1 + 0.2 != 0.3
    assert paper("table6_pruning").find(PRUNED | {"rate": 0.1 + 0.2})["distance"] == 2.82e-3


def test_errors_say_what_is_missing():
    with pytest.raises(PaperError, match="without host"):
        paper("table6_pruning").find({"hosts": "dncnn", "scheme": "ours", "rate": 0.35})
    with pytest.raises(PaperError, match="one of table1_fidelity_denoising, .*; got 'table6'"):
        paper("table6")
    for nowhere in ({"lam": 7}, {"epochs": 10}, {"test_set": "set12"}):  # the last is implied, no axis
        with pytest.raises(PaperError, match="expected values that the paper has"):
            paper("table6_pruning").where(**nowhere)
    with pytest.raises(PaperError, match="expected one line for .*, got 2"):
        (paper("table6_pruning") | paper("table6_pruning")).find(PRUNED)


def test_a_table_that_the_paper_does_not_have():
    assert Paper().find(PRUNED) == {} and Paper().names == frozenset()
    assert paper("table9_multiple_overwriting").names == {"psnr", "distance", "verified", "ncc"}


def test_slips_are_told():
    table = paper("table6_pruning")
    assert table.remarks == ("the verdict's column is headed d > η; the rule is d ≤ η",)
    told = {(line.axes["host"], line.axes["rate"]) for line in table.lines if any("0.22" in r for r in line.remarks)}
    assert told == {("dncnn", 0.3), ("vdsr", 0.3), ("srdncnn", 0.3)}
    assert table.line(PRUNED).remarks == ()
    rows = [{"host": host, "scheme": scheme, "rate": 0.3} for host in ("dncnn", "vdsr") for scheme in ("ours", "adi")]
    assert table.slips([PRUNED, *rows]) == [*table.remarks, "rate 0.3: rate printed 0.22, read as 0.30: it stands "
                                            "between 0.25 and 0.35, and so do its numbers"]


def test_every_remark_stands_at_a_line():
    for name, block in json.loads(module.DATA.read_text(encoding="utf-8")).items():
        for remark in block.get("remarks", ()):
            assert any(remark["says"] in line.remarks for line in paper(name).lines) or not remark["at"], remark


def test_lines_say_what_they_miss():
    line = Line({"host": "red", "rate": 0.1}, {"scheme": "ours"}, {"psnr": 1.0})
    assert line.agrees({"rate": 0.1}) and line.missing({"rate": 0.1}) == ["host"]
    assert not line.agrees({"scheme": "adi"})
