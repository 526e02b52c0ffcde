"""Which trials there are of a table, and of which models: what is written says neither less nor other than records."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from watermark.lab import measures, runner, trial
from watermark import checkpoints
from watermark.attacks import Finetune, Prune
from watermark.lab.execution import Job, Local, Watch
from watermark.lab.runner import Options
from watermark.lab.tables import Column, Measure, Table

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def _table(name, hosts=("dncnn", "red"), **measure):
    """One number of the pruned marks of hosts."""
    grid = [{"host": host, "scheme": "ours", "rate": 0.5} for host in hosts]
    return Table(name, "Demo.", grid, lambda profile, seed, host, scheme, rate: profile.mark(host, seed).under(
        Prune(rate)), Measure(measure.pop("values", lambda *_: {"n": 1.0}), (Column("n", "n"),), **measure))


def _keep(lab, table, host, *seeds):
    trials = runner.Trials(lab, table)
    for row in (row for row in table.grid if row["host"] == host):
        for seed in seeds:
            trials.store.add({"id": trials.identity(row, seed), "row": row, "seed": seed, "values": {"n": float(seed)},
                              "provenance": {"data": {"train": "a", "test": "b"}}})


def _of(lab, **fields):
    return dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, **fields))


def test_a_page_has_every_seed_that_there_is_a_record_of(lab):
    """By hand: seeds 1 and 2 of DnCNN alone, as of one machine of two, and 0 of RED; a later run asks for one."""
    table = _table("every")
    _keep(lab, table, "dncnn", 1, 2)
    _keep(lab, table, "red", 0)
    whole = runner.Trials(_of(lab, trials=9), table, Options(hosts=["dncnn", "red"])).whole(beyond=False)
    assert [len(found) for _, found in whole.pairs()] == [2, 1] and whole.lab.profile.seeds == range(3)
    assert "2/3" in whole.text() and "1/3" in whole.text()
    runner.make(_of(lab, trials=1, first_seed=1), table, Options(hosts=["dncnn"]))
    written = (lab.workdir / "results/smoke/every.md").read_text()
    assert "RED" in written and "2/3" in written


def test_a_model_of_another_parent_is_made_again(lab, monkeypatch):
    """As after a mark was replaced by one of its name: its fine-tuned copy, which is kept, is not of it."""
    mark = lab.profile.mark("dncnn", 5)
    tuned = mark.under(Finetune(1, 1e-3, 2, 16, "sample_train", 0))
    first = lab.get(tuned).get_weights()
    path = lab.cache.path(lab.resolve(tuned).name)
    assert len(checkpoints.describe(path)["parent_weights"]) == 64
    marked = lab.get(mark)
    marked.set_weights([weight + np.float32(0.01) for weight in marked.get_weights()])  # the one that all ask for
    lab._loaded.pop(lab.resolve(tuned).name, None)
    again = lab.get(tuned).get_weights()
    assert any("was made from another" in line and "made again" in line for line in lab.log.__self__)
    assert not np.array_equal(first[0], again[0])
    for name in (lab.resolve(spec).name for spec in (mark, tuned)):
        lab.cache.forget(name)
        lab._loaded.pop(name, None)


def test_a_pruned_copy_is_made_once_for_all_that_is_measured(lab, monkeypatch):
    mark = lab.profile.mark("dncnn", 0)
    assert lab.get(mark.under(Prune(0.5))) is lab.get(mark.under(Prune(0.5)))
    assert lab.get(mark.under(Prune(0.5))) is not lab.get(mark.under(Prune(0.6)))


def test_a_record_says_of_which_kept_model_it_is(lab):
    """Of a pruned copy, which is not kept, it is the mark; and the arithmetic is that of the mark's training."""
    table = _table("kept", hosts=("dncnn",), values=lambda lab, subjects, row: {
        "n": measures.psnr(lab, lab.get(next(iter(subjects.values()))), "dncnn")})
    runner.Trials(lab, table).make()
    (record,) = map(json.loads, (lab.workdir / "results/smoke/kept.jsonl").read_text().splitlines())
    mark = lab.resolve(lab.profile.mark("dncnn", 0))
    assert list(record["provenance"]["weights"]) == [mark.name]
    assert record["provenance"]["arithmetic"] == checkpoints.describe(lab.cache.path(mark.name))["arithmetic"]
    others = _table("others", hosts=("dncnn",), trained="data of their own")
    runner.Trials(lab, others).make()
    (record,) = map(json.loads, (lab.workdir / "results/smoke/others.jsonl").read_text().splitlines())
    assert record["provenance"]["weights"] == {} and record["provenance"]["data"]["train"] == "data of their own"
    assert "trained on data of their own" in runner.Trials(lab, others).text()


def test_what_is_measured_on_no_image_asks_for_none(lab, monkeypatch):
    """Its id names the set, whether it can be had or not."""
    asked = []
    monkeypatch.setattr(type(lab.images), "test_name", lambda self, name: asked.append(name) or "stand-in")
    table = _table("imageless", hosts=("dncnn",), on_images=False)
    (row,) = table.grid
    assert trial.identity(lab, table, row, 0) == trial.identity(
        _with(lab, lambda spec: spec), table, row, 0, resolved=True) and not asked
    table = _table("imageless", hosts=("dncnn",))
    trial.identity(lab, table, row, 0, resolved=True)
    assert asked == ["set12"]


def _with(lab, resolve):
    class Named(type(lab)):
        def resolve(self, spec):
            return resolve(spec)
    return Named(**{field.name: getattr(lab, field.name) for field in dataclasses.fields(lab) if field.init})


def test_what_was_made_on_stand_ins_is_not_ready_where_the_sets_are(lab, monkeypatch):
    mark = lab.profile.mark("dncnn", 0)
    lab.get(mark)
    assert lab.ready(mark) and lab.resolve(mark) != mark
    monkeypatch.setattr(type(lab.images), "train_name", lambda self, name: name)
    assert not lab.ready(mark)


def test_rows_whose_value_has_a_comma():
    """As the flag's list is split."""
    told = Options(rows=["attack=fine-tuned", "new data", "host=dncnn", "attack=pruned"])
    assert told.values == {"attack": ["fine-tuned, new data", "pruned"], "host": ["dncnn"]}


def test_no_trial_starts_after_the_end_that_another_process_made_wait_for():
    made, watch = [], Watch("t", 1.0)

    def waited(job):
        object.__setattr__(watch, "began", watch.began - 3600.0)
        return _Wanted()

    watch = dataclasses.replace(watch, claim=waited)
    assert not Local().run([Job(0, 0, "a")], made.append, made.append, watch) and not made


class _Wanted:
    def __enter__(self):
        return True

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(("script", "flag", "words"), [
    ("table9_multiple_overwriting", "--schemes=adi", "--schemes=adi: all rows of this table are of ours"),
    ("table6_pruning", "--ray_address=head:6379", "--ray_address is for --runner=ray"),
    ("fig3_triggers", "--hosts=dncnn,red", "this figure is of one host"),
    ("fig9_robustness", "--reuse", "--reuse is for scripts that make tables"),
    ("fig_detection", "--schemes=adi", "no row of the table has"),
])
def test_flags_that_nothing_would_take_notice_of_are_refused(script, flag, words):
    done = subprocess.run([sys.executable, EXPERIMENTS / f"{script}.py", "--profile=smoke", flag],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2 and words in done.stderr
