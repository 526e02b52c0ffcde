"""Files of records, and tables as pure functions of them."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from watermark.lab.execution import Job, Shard, in_order
from watermark.lab.paper import Line, Paper
from watermark.lab.store import Store
from watermark.lab.tables import WIDEST, Column, Measure, Table, render


def _record(name):
    return {"id": name, "values": {}, "provenance": {}}


def test_a_cut_last_line_is_dropped_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "t.jsonl"
    store = Store(tmp_path, "t")
    for i in range(2):
        store.add(_record(str(i)))
    whole = path.read_text()
    path.write_text(whole[:-5])
    assert list(Store(tmp_path, "t").records) == ["0"]
    Store(tmp_path, "t").add(_record("2"))  # what was cut off goes before something is added
    assert list(Store(tmp_path, "t").records) == ["0", "2"]
    path.write_text("nonsense\n" + whole)
    with pytest.raises(ValueError, match="t.jsonl:1 is not a record"):
        Store(tmp_path, "t")


@pytest.mark.parametrize(("line", "why"), [
    (b'{"id": "a", "values": {"n": "high"}, "provenance": {}, "row": {}}', "no numbers"),
    (b'{"id": "a", "values": 3, "provenance": {}, "row": {}}', "AttributeError"),
    (b'{"id": "a", "values": {}, "provenance": {}}', "'row'"), (b'{"id": "\xff"}', "UnicodeDecodeError"),
    (b"3", "TypeError")])
def test_a_record_that_is_none_is_named_with_its_line(line, why, tmp_path):
    (tmp_path / "t.jsonl").write_bytes(json.dumps(_record("0") | {"row": {}}).encode() + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=f"t.jsonl:2 is not a record .*{why}") as caught:
        Store(tmp_path, "t", needs=("row",))
    assert "\n" not in str(caught.value)


def _add(folder, names):
    store = Store(folder, "t")
    for name in names:
        store.add(_record(name))


def test_writers_side_by_side_lose_no_record(tmp_path):
    names = [[f"{i}-{j}" for j in range(20)] for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(_add, [tmp_path] * 3, names))
    assert set(Store(tmp_path, "t").records) == {name for some in names for name in some}


def test_files_of_several_machines_are_one_table_and_the_last_of_an_id_counts(tmp_path):
    first, second = Store(tmp_path / "a", "t", "1of2"), Store(tmp_path / "a", "t", "2of2")
    first.add(_record("x"))
    second.add(_record("y"))
    second.add(_record("y") | {"values": {"n": 2}})
    both = Store(tmp_path / "a", "t").records
    assert both["y"]["values"] == {"n": 2} and len(both) == 2
    own = Store(tmp_path / "b", "t", read_only=[tmp_path / "a"])
    own.add(_record("x") | {"values": {"n": 3}})
    assert Store(tmp_path / "b", "t", read_only=[tmp_path / "a"]).records["x"]["values"] == {"n": 3}
    assert len((tmp_path / "b" / "t.jsonl").read_text().splitlines()) == 1
    assert set(Store(tmp_path / "b", "t").records) == {"x"}
    assert not Store(tmp_path / "a", "tt").records  # another table whose name begins alike


def test_full_disk_loses_nothing(monkeypatch, tmp_path):
    store = Store(tmp_path, "t")
    store.add(_record("a"))
    before = (tmp_path / "t.jsonl").read_text()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.add(_record("b"))
    assert (tmp_path / "t.jsonl").read_text() == before and set(store.records) == {"a"}


def test_cells_by_hand():
    assert Column("d", "d", 1e3, ".2f").cell([1e-3, 3e-3]) == "2.00 ± 1.41"
    assert Column("d", "d").cell([]) == "–"
    assert Column("ok", "ok", form=None).cell([True, False, True]) == "2/3"
    rows = [{"host": "vdsr", "scheme": "ours", "rate": 0.1}]
    measure = Measure(None, (Column("x", "x", 1e3), Column("y", "y"), Column("z", "z")))
    table = Table("t", "", rows, None, measure, Paper("t", (Line({"rate": 0.1}, {}, {"x": 2e-3}),)))
    text = render(rows, [[{"x": 1e-3, "y": 4.0}]], table, [30])
    assert [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]] == [
        "VDSR", "ours", "0.10", "1.00", "2.00", "4.00", "–", "1/30"]


def test_a_wide_table_is_split_and_what_is_constant_stands_above():
    """By hand: nine numbers, two verdicts, a scheme and a p that are the same in both rows, a rate that is not."""
    rows = [{"host": "vdsr", "scheme": "ours", "rate": rate} for rate in (0.1, 0.2)]
    names = "abcdefghi"
    measure = Measure(None, (*(Column(name, name) for name in names), Column("p", "p", form=".0e"),
                             Column("yes", "yes", form=None), Column("no", "no", form=None)))
    values = [[{name: at + i for i, name in enumerate(names)} | {"p": 1e-3, "yes": True, "no": False}] for at in (0, 9)]
    text = render(rows, values, Table("t", "", rows, None, measure), [30] * len(rows))
    assert text.startswith("In every row: host: VDSR; scheme: ours; p: 1e-03; trials: 1/30.\n\n**Verdict**\n\n| rate")
    verdict, evidence = text.split("**Verdict**")[1].split("**Evidence**")
    assert " ".join(verdict.split()).endswith("| 0.20 | 1/1 | 0/1 |")
    assert " ".join(evidence.split()).endswith(
        "| 0.20 | 9.00 | 10.00 | 11.00 | 12.00 | 13.00 | 14.00 | 15.00 | 16.00 | 17.00 |")


def test_no_table_is_wider_than_github_shows():
    """Fourteen numbers, each beside the paper's, which stays in the same table."""
    names = [f"n{i}" for i in range(14)]
    rows = [{"host": host, "rate": 0.1} for host in ("vdsr", "red")]
    paper = Paper("t", (Line({"rate": 0.1}, {}, dict.fromkeys(names, 2.0)),))
    table = Table("t", "", rows, None, Measure(None, tuple(Column(name, name) for name in names)), paper)
    text = render(rows, [[dict.fromkeys(names, 1.0)], [dict.fromkeys(names, 3.0)]], table, [30, 30])
    heads = [line for line in text.splitlines() if line.startswith("| host")]
    assert len(heads) > 1 and all(head.count("|") - 1 <= WIDEST for head in heads)
    assert all(cells[1::2] == ["paper"] * (len(cells) // 2)
               for cells in ([c.strip() for c in head.split("|")[1:-1] if "host" not in c] for head in heads))


def test_trials_go_seed_by_seed_and_a_model_stays_on_one_machine():
    jobs = [Job(row, seed, f"model {row}") for row in range(20) for seed in range(2)]
    assert [(job.seed, job.row) for job in in_order(jobs)] == [(s, r) for s in range(2) for r in range(20)]
    shards = [Shard(i, 3) for i in (1, 2, 3)]
    owners = {json.dumps([job.row]): [shard.has(job) for shard in shards].index(True) for job in jobs}
    assert all(sum(shard.has(job) for shard in shards) == 1 for job in jobs) and set(owners.values()) == {0, 1, 2}
    assert Shard.of("2/3") == shards[1] and shards[1].name == "2of3"
