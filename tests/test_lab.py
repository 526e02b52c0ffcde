"""Records, cache and resume, with the real script under the smoke profile."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from watermark import attacks
from watermark.attacks import prune
from watermark.checkpoints import CheckpointError
from watermark.data import DataError
from watermark.lab import runner
from watermark.lab.profiles import get_profile
from watermark.lab.store import Store, digest, essence, origin
from watermark.lab.tables import Column, Table, render
from watermark.recipes import Recipe
from watermark.training import Compute

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "experiments" / "table6_pruning.py"
NO_DATA = "/nonexistent-data"


def _script(workdir, *flags, script=SCRIPT, **options):
    environment = {k: v for k, v in os.environ.items() if k != "WATERMARK_DATA"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, script, "--profile=smoke", f"--workdir={workdir}", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def _table(name="demo"):
    grid = [{"host": "dncnn", "scheme": "ours", "rate": rate} for rate in (0.0, 1.0)]

    def trial(lab, seed, host, scheme, rate):
        marked, key = lab.marked(host, seed, scheme)
        return lab.judge(host, scheme, prune(marked, rate), key)

    return Table(name, "Demo.", grid, trial, {("dncnn", "ours", 0.0): {"psnr": 30.0, "verified": True}})


def test_a_table_from_nothing(lab, capsys):
    text = runner.make(lab, _table())
    records = [json.loads(line) for line in (lab.workdir / "results/smoke/demo.jsonl").read_text().splitlines()]
    assert len(records) == 2
    for record in records:
        assert set(record) == {"id", "table", "row", "seed", "values", "provenance"}
        assert set(record["row"]) == {"host", "scheme", "rate"}
        assert set(record["values"]) == {"psnr", "distance", "ncc", "verified", "ncc_verified", "rho", "p_value"}
        assert np.isfinite(list(record["values"].values())).all()
        assert record["provenance"]["data"] == {"train": "sample_train", "test": "sample_test"}
    assert records[0]["values"]["distance"] < 1e-6 < records[1]["values"]["distance"]
    assert "sample_train" in text and "sample_test" in text
    assert any("sample_test (bundled images) stands in for set12" in line for line in lab.say.__self__)
    assert (lab.workdir / "results/smoke/demo.md").read_text() == text + "\n" == capsys.readouterr().out


def test_again_makes_nothing_and_another_trial_only_itself(lab):
    def forbidden(*args, **row):
        raise AssertionError("made again")

    table = _table()
    again = dataclasses.replace(table, trial=forbidden)
    assert runner.make(lab, again) == runner.make(lab, again)
    more = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, trials=2))
    seeds = []
    counting = dataclasses.replace(table, trial=lambda lab, seed, **row: seeds.append(seed) or {"psnr": 1.0} | {
        c.value: 0.5 for c in table.columns})
    assert "2/2" in runner.make(more, counting)
    assert seeds == [1, 1]


def test_what_the_numbers_depend_on_makes_them_again(lab):
    made = []
    table = Table("depending", "Demo.", [{"host": "dncnn", "scheme": "ours"}],
                  lambda lab, seed, **row: made.append(seed) or {"x": 1.0}, {}, (Column("x", "x"),))
    for recipe, count in ((None, 1), (None, 1), ("longer", 2), ("longer", 2)):
        depends = recipe and (lambda lab, seed, host, scheme, recipe=recipe: recipe)
        runner.make(lab, dataclasses.replace(table, depends=depends))
        assert len(made) == count


def test_records_made_elsewhere_do_not_count_unless_asked(lab):
    path = lab.workdir / "results/smoke/demo.jsonl"
    foreign = path.read_text().replace(origin(lab.workdir), "elsewhere")
    (lab.workdir / "foreign.jsonl").write_text(foreign)
    assert Store(lab.workdir / "foreign.jsonl", origin(lab.workdir)).records == {}
    everything = Store(lab.workdir / "foreign.jsonl")
    assert everything.records
    mine = Store(lab.workdir / "foreign.jsonl", origin(lab.workdir))
    record = next(iter(everything.records.values()))
    mine.add(record | {"provenance": {"origin": origin(lab.workdir)}})
    assert len(Store(lab.workdir / "foreign.jsonl").records) == len(everything.records)  # replaced, none lost
    assert len(Store(lab.workdir / "foreign.jsonl", origin(lab.workdir)).records) == 1


def test_a_cut_last_line_is_dropped_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "t.jsonl"
    store = Store(path)
    for i in range(2):
        store.add({"id": str(i), "values": {}, "provenance": {}})
    whole = path.read_text()
    path.write_text(whole[:-5])
    assert list(Store(path).records) == ["0"]
    path.write_text("nonsense\n" + whole)
    with pytest.raises(ValueError, match="t.jsonl:1 is not a record"):
        Store(path)


def test_scripts_side_by_side_keep_each_others_records(tmp_path):
    first, second = (Store(tmp_path / "t.jsonl") for _ in range(2))
    for store, name in ((first, "a"), (second, "b"), (first, "c")):
        store.add({"id": name, "values": {}, "provenance": {}})
    assert set(Store(tmp_path / "t.jsonl").records) == {"a", "b", "c"}


def test_stop_after_leaves_holes(lab):
    table = dataclasses.replace(_table("holes"))
    text = runner.make(lab, table, stop_after=0.0)
    assert "0/1" in text and "–" in text


def test_damaged_checkpoints_are_noticed(lab):
    plan = lab.plan_marked("dncnn", 0)
    path = lab.workdir / "checkpoints" / plan.file
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    said = []
    fresh = dataclasses.replace(lab, say=said.append)
    fresh.marked("dncnn", 0)
    assert any("damaged" in line for line in said)
    host = lab.workdir / "checkpoints" / lab.plan_host("dncnn").file
    content = host.read_bytes()
    host.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        fresh.host("dncnn")
    host.write_bytes(content)


def test_digest_and_profiles():
    assert digest({"a": 1, "b": 2.0}) == digest({"b": 2.0, "a": 1}) != digest({"a": 1, "b": 2.5})
    with pytest.raises(ValueError, match="smoke, quick, paper"):
        get_profile("fast")


def test_a_new_option_at_its_default_changes_no_digest():
    @dataclasses.dataclass(frozen=True)
    class Old:
        steps: int
        inner: object = None

    @dataclasses.dataclass(frozen=True)
    class New(Old):
        option: float = 0.5

    assert essence(Old(3, Old(4))) == essence(New(3, New(4))) == {"steps": 3, "inner": {"steps": 4}}
    assert essence(New(3, option=0.6)) == {"steps": 3, "option": 0.6}


def test_cells_by_hand():
    assert Column("d", "d", 1e3, ".2f").cell([1e-3, 3e-3]) == "2.00 ± 1.41"
    assert Column("d", "d").cell([]) == "–"
    assert Column("ok", "ok", form=None).cell([True, False, True]) == "2/3"
    rows = [{"host": "a", "scheme": "ours", "rate": 0.1}]
    table = Table("t", "", rows, None, {("a", "ours", 0.1): {"x": 2e-3}}, (Column("x", "x", 1e3), Column("y", "y")))
    text = render(rows, [[{"x": 1e-3, "y": 4.0}]], table, 30)
    assert [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]] == [
        "a", "ours", "0.10", "1.00", "2.00", "4.00", "1/30"]


def test_killed_anywhere_and_started_again_gives_the_same_table(tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert _script(calm).returncode == 0
    environment = {k: v for k, v in os.environ.items() if k != "WATERMARK_DATA"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    for seconds in (6, 12, 18):
        process = subprocess.Popen([sys.executable, SCRIPT, "--profile=smoke", f"--workdir={killed}"],
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert _script(killed).returncode == 0
    table = "results/smoke/table6_pruning.md"
    assert (killed / table).read_bytes() == (calm / table).read_bytes()


@pytest.mark.parametrize(("flags", "said"), [
    (["--hosts=unet"], "choose from dncnn, red, vdsr, srdncnn"),
    (["--schemes=theirs"], "choose from ours"),
    ([f"--data_dir={NO_DATA}"], "no such folder"),
    (["quick"], "unexpected argument"),
])
def test_bad_flags_get_one_line(flags, said, tmp_path):
    result = _script(tmp_path, *flags)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and said in lines[0]
    assert "Traceback" not in result.stderr


def test_unknown_profile_lists_the_choices(tmp_path):
    result = _script(tmp_path, "--profile=fast")
    assert result.returncode != 0 and "smoke" in result.stderr and "Traceback" not in result.stderr


def test_full_disk_loses_nothing(monkeypatch, tmp_path):
    store = Store(tmp_path / "t.jsonl")
    store.add({"id": "a", "values": {}, "provenance": {}})
    before = (tmp_path / "t.jsonl").read_text()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        store.add({"id": "b", "values": {}, "provenance": {}})
    assert (tmp_path / "t.jsonl").read_text() == before
    assert {p.name for p in tmp_path.iterdir()} == {"t.jsonl", ".t.jsonl.lock"}


def test_a_longer_recipe_continues_from_the_host_there_is(lab):
    phases = lab.profile.hosts["dncnn"]
    longer = dataclasses.replace(lab.profile, hosts={"dncnn": (*phases, dataclasses.replace(phases[0], steps=1))})
    extended = dataclasses.replace(lab, profile=longer)
    lab.host("dncnn")
    extended.host("dncnn")
    phases = {path.name for path in (lab.workdir / "runs" / extended.plan_host("dncnn").name).iterdir()}
    assert phases == {"phase2"}


def test_copyright_images_of_the_users_own(lab, tmp_path):
    assert set(lab.copyright_images()) == {"logo.png", "sign.png"}
    Image.fromarray(np.full((30, 60, 3), 200, np.uint8)).save(tmp_path / "mine.png")
    found = dataclasses.replace(lab, pictures=str(tmp_path)).copyright_images()
    assert [(name, image.shape) for name, image in found.items()] == [("mine.png", (320, 320))]
    with pytest.raises(DataError, match="no such folder of images"):
        dataclasses.replace(lab, pictures=str(tmp_path / "absent")).copyright_images()


def test_a_host_can_be_marked_otherwise_than_the_rest():
    quick = get_profile("quick")
    assert quick.marking("dncnn") == quick.embed and quick.marking("vdsr").others > 0
    assert quick.marking("vdsr") == dataclasses.replace(quick.embed, others=quick.marking("vdsr").others)


def test_a_longer_fine_tuning_goes_on_from_a_shorter_one(lab):
    """To the weights of an uninterrupted one; a shorter one asked for afterwards starts from the mark."""

    def tuned(lab, steps):
        return lab.finetuned("dncnn", 0, steps=steps, learning_rate=1e-4)

    def folders():
        return {path.name for path in (lab.workdir / "runs").glob("dncnn-finetuned-0-*")}

    float32 = dataclasses.replace(lab, compute=Compute("float32"))
    before = folders()
    tuned(float32, 2)
    longer = tuned(float32, 4)
    assert len(folders() - before) == 1
    shorter = tuned(float32, 3)
    assert len(folders() - before) == 2
    batches = float32._batches(float32.plan_attack("dncnn", 0, "finetuned", Recipe(4, 4, 1e-4)), Recipe(4, 4, 1e-4))
    marked = float32.marked("dncnn", 0)[0]
    for model, steps in ((longer, 4), (shorter, 3)):
        alone = attacks.finetune(marked, batches, steps=steps, learning_rate=1e-4, compute=Compute("float32"))
        for a, b in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("trained", "marked", "expected"), [
    ((), (), ["dncnn"]), (("red",), (), ["red"]), (("dncnn", "red"), ("red",), ["red"]),
    (("dncnn", "red"), ("dncnn", "red"), ["dncnn", "red"]),
])
def test_without_hosts_a_table_takes_those_that_are_ready(trained, marked, expected):
    """By hand: marked for every trial, else trained, else the first; and what is left out is said."""
    said = []
    lab = SimpleNamespace(profile=SimpleNamespace(name="quick", trials=2), say=said.append,
                          has_host=lambda name: name in trained, has_marked=lambda name, seed, scheme: name in marked)
    grid = [{"host": host, "scheme": "ours", "rate": 0.1} for host in ("dncnn", "red")]
    rows = runner._chosen(lab, grid, None, ("ours",))
    assert [row["host"] for row in rows] == expected
    assert len(said) == (len(expected) < 2)
