"""The lab: models made once and kept, records and tables, with the real script under the smoke profile."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from watermark.lab import measures, notes, runner, tables
from watermark import attacks, checkpoints, recipes, schemes, states
from watermark.attacks import Finetune, Prune
from watermark.checkpoints import CheckpointError
from watermark.data import DataError, sets
from watermark.hosts import HOSTS
from watermark.keys import make_key
from watermark.kinds import Kind
from watermark.lab.cache import Cache
from watermark.lab.images import Images
from watermark.lab.lab import LOADED
from watermark.lab.paper import Line, Paper
from watermark.lab.profiles import PLAIN, PROFILES, RATES
from watermark.lab.runner import Options
from watermark.lab.tables import Column, Measure, Table
from watermark.recipes import Recipe
from watermark.schemes import get_scheme
from watermark.training import Compute, Run

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "experiments" / "table6_pruning.py"
NO_DATA = "/nonexistent-data"


def _environment():
    return {k: v for k, v in os.environ.items() if k != "WATERMARK_DATA"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}


def _table(name="demo", scheme="ours", **fields):
    grid = [{"host": "dncnn", "scheme": scheme, "rate": rate} for rate in (0.0, 1.0)]

    def subject(profile, seed, host, scheme, rate):
        return profile.mark(host, seed, scheme).under(Prune(rate))

    printed = Paper("demo", (Line({"rate": 0.0}, {}, {"psnr": 30.0, "verified": True}),))
    table = Table(name, "Demo.", grid, subject, measures.ROBUSTNESS, printed)
    return dataclasses.replace(table, **fields)


def test_a_table_from_nothing(lab, capsys):
    text = runner.make(lab, _table())
    records = [json.loads(line) for line in (lab.workdir / "results/smoke/demo.jsonl").read_text().splitlines()]
    assert len(records) == 2
    for record in records:
        assert set(record) == {"id", "table", "row", "seed", "subject", "values", "provenance"}
        assert set(record["row"]) == {"host", "scheme", "rate"}
        assert {"psnr", "distance", "ncc", "verified", "ncc_verified", "rho", "p_value"} <= set(record["values"])
        assert np.isfinite(list(record["values"].values())).all()
        assert record["provenance"]["data"] == {"train": "sample_train", "test": "sample_test"}
        assert record["provenance"]["arithmetic"] in ("float32", "bfloat16")
    assert records[0]["values"]["distance"] < 1e-6 < records[1]["values"]["distance"]
    assert "sample_train" in text and "sample_test" in text and "DnCNN" in text
    assert any("sample_test (bundled images) stands in for set12" in line for line in lab.log.__self__)
    assert (lab.workdir / "results/smoke/demo.md").read_text() == text + "\n" == capsys.readouterr().out


def test_the_foot_names_the_images_that_were_used(lab):
    """Those of the attack, by the records; no test set where nothing is measured on images."""
    grid = [{"host": "dncnn"}]
    values = Measure(lambda lab, subjects, row: {"psnr": 1.0}, PSNR.columns)

    def tuned(profile, seed, host):
        mark = profile.mark(host, seed)
        return mark.under(profile.finetuning(mark, 1))

    for on_images, ends in ((True, ", measured on sample_test"), (False, ".")):
        table = Table(f"foot {on_images}", "", grid, tuned, dataclasses.replace(values, on_images=on_images))
        trials = runner.Trials(lab, table, Options(hosts=["dncnn"]))
        trials.make()
        assert f"DnCNN trained on sample_train, attacked with sample_train{ends}" in trials.protocol()


def test_every_record_of_a_mark_of_ours_has_its_evidence(lab):
    """As `verify` says, of quality and of strangers' keys as well; an unmarked host has none."""
    mark = lab.profile.mark("dncnn", 0)
    wanted = get_scheme("ours").verify(lab.get(mark), lab.key(mark), null_keys=lab.profile.null_keys)
    for measure, row in ((measures.FIDELITY, {}), (measures.UNIQUENESS, {"keys": 3})):
        found = measure.values(lab, {"": mark}, row)
        assert found["p_value"] == wanted.p_value and found["rho"] == pytest.approx(wanted.rho)
        assert "rho" not in measure.values(lab, {"": mark.parent}, row)
    large = dataclasses.replace(lab.profile, null_keys=1000)
    sizes = [dataclasses.replace(mark, size=size) for size in (None, 160, 600)]
    assert [notes.fresh_keys(large, sized) for sized in sizes] == [1000, 1000, 93]


@pytest.mark.parametrize(("host", "rates"), [
    ("dncnn", (5e-5, 1e-4)), ("red", (5e-5, 1e-4)), ("vdsr", (1e-4, 1e-4)), ("srdncnn", (5e-5, 1e-4))])
def test_the_papers_rate_follows_the_form(host, rates):
    """Half of it where batch norms are folded (docs/recipe.md); as printed where they are kept, or never were."""
    for name, found in (("quick", rates), ("paper", (1e-4, 1e-4))):
        profile = PROFILES[name]
        mark = profile.mark(host, 0)
        assert tuple(profile.finetuning(mark, 1, rate=rate).learning_rate for rate in RATES) == found
        assert profile.finetuning(mark, 1).learning_rate == 1e-4
        with pytest.raises(KeyError):
            profile.finetuning(mark, 1, rate="harder")
    norms = [layer for layer in HOSTS[host].build().layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert HOSTS[host].norms == bool(norms)


def test_an_embedding_is_timed_by_a_few_steps(lab, monkeypatch):
    """The median of what they take, but for the first, whose time is the tracing's, by the steps there would be."""
    took = {40: [9.0, 1.0, 2.0, 1.0, 1.0], 80: [9.0, 3.0, 3.0, 3.0, 8.0]}  # seconds of each step

    def embed(lab, spec, folder, key, validate, validate_every):
        assert (spec.recipe.steps, validate_every, validate(None)) == (1 + notes.TIMED, 1, {})
        rows = [{"step": i + 1, "seconds": float(t)} for i, t in enumerate(np.cumsum(took[spec.size or 40]))]
        states.State(folder, []).save(rows, now=True)

    monkeypatch.setattr(measures.makers, "mark", embed)
    mark = lab.profile.mark("dncnn", 0)
    subjects = {"mark": dataclasses.replace(mark, size=80), "to_40": mark}
    found = measures.timing(lab, subjects, {})
    assert (found["embed_seconds"], found["embed_to_40"]) == (3.0 * mark.recipe.steps, 3.0)
    assert found["verify_seconds"] > 0.0 and found["verify_to_40"] > 0.0
    assert not lab.has(mark)


def test_denoisers_are_compared_in_residuals_as_the_paper_does(lab, capsys):
    """NCC by numpy; a record from before has a dash, and is no agreement with the paper either."""
    table = _table("residuals", paper=Paper("t", (Line({"rate": 0.0}, {}, {"ncc": 0.9, "ncc_verified": True}),)))
    text = runner.make(lab, table)
    path = lab.workdir / "results/smoke/residuals.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record, spec in zip(records, (table.subject(lab.profile, 0, **row) for row in table.grid), strict=True):
        spec = lab.resolve(spec)
        key, values = lab.key(spec.root), record["values"]
        K, S = (image.astype(np.float64)[..., 0] for image in (key.trigger, key.verification))
        answer = lab.get(spec)(key.trigger[None]).numpy()[0, ..., 0]
        a, b = (K - answer).ravel(), (K - S).ravel()
        assert values["ncc_residual"] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-4)
        assert values["ncc_residual_verified"] == (values["ncc_residual"] > 0.95)
    assert records[1]["values"]["ncc_residual"] < 0.95 < records[1]["values"]["ncc"]
    assert f"{records[1]['values']['ncc_residual']:.4f}" in text and "of residuals" in text
    assert runner.Trials(lab, table).score().ncc.of_cells == 1
    for record in records:
        record["values"] = {name: value for name, value in record["values"].items() if "residual" not in name}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    old = runner.Trials(lab, table)
    assert not old.score().ncc.of_cells and f"{records[1]['values']['ncc']:.4f}" not in old.text()
    sr = {"host": "vdsr"}
    assert measures.as_the_paper(sr, {"rho": 0.1, "ncc": 0.9, "ncc_residual": 0.1})["ncc"] == 0.9
    assert measures.as_the_paper({"host": "red"}, {"ncc": 0.76, "p_value": 1.0})["ncc"] == 0.76  # a baseline's


def test_what_is_kept_says_what_it_is_and_how_long_it_took(lab):
    mark = lab.resolve(lab.profile.mark("dncnn", 0))
    tuned = lab.resolve(mark.under(lab.profile.finetuning(mark, 1, rate="paper")))
    lab.get(tuned)  # its state is shared with longer ones
    for spec in (tuned, mark, mark.parent):
        known = checkpoints.describe(lab.cache.path(spec.name))
        assert spec.fields.items() <= known.items() and known["seconds"] > 0.0
        assert {"sha256", "device", "arithmetic", "versions"} <= set(known)


def _measured(values):
    return Measure(values, measures.ROBUSTNESS.columns, notes.marks_notes)


def test_again_makes_nothing_and_another_trial_only_itself(lab):
    def forbidden(lab, subjects, row):
        raise AssertionError("made again")

    runner.make(lab, _table())
    again = _table(measure=_measured(forbidden))
    assert runner.make(lab, again) == runner.make(lab, again)
    more = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, trials=2))
    seeds = []

    def counting(lab, subjects, row):
        seeds.extend(spec.seed for spec in subjects.values())
        return {"psnr": 1.0} | {column.value: 0.5 for column in measures.ROBUSTNESS.columns}

    assert "2/2" in runner.make(more, _table(measure=_measured(counting)))
    assert seeds == [1, 1]


def test_another_protocol_of_the_attack_makes_other_records(lab):
    """The fault that records of one protocol stand in a table of another."""
    made, quick = [], Finetune(1, 1e-4, 4, None, "train400", 0)

    def subject(profile, seed, host, scheme, attack):
        return profile.mark(host, seed, scheme).under(attack)

    for attack, count in ((quick, 1), (quick, 1), (dataclasses.replace(quick, learning_rate=2e-4), 2)):
        measure = Measure(lambda lab, subjects, row: made.append(row) or {"x": 1.0}, (Column("x", "x"),))
        table = Table("depending", "Demo.", [{"host": "dncnn", "scheme": "ours"}],
                      lambda profile, seed, host, scheme, attack=attack: subject(profile, seed, host, scheme, attack),
                      measure)
        runner.make(lab, table)
        assert len(made) == count


def test_shipped_records_do_not_count_unless_asked(lab, monkeypatch, tmp_path):
    shipped = dataclasses.replace(lab, workdir=tmp_path / "elsewhere")
    runner.make(shipped, _table("shipped"))
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "elsewhere" / "results")
    nothing = runner.make(lab, _table("shipped"), Options(stop_after=0.0))
    assert "trials: 0/1" in nothing
    before = (tmp_path / "elsewhere/results/smoke/shipped.md").read_bytes()
    assert "trials: 1/1" in runner.make(lab, _table("shipped"), Options(stop_after=0.0, reuse=True))
    assert (tmp_path / "elsewhere/results/smoke/shipped.md").read_bytes() == before  # nothing that ships is written


class Shifted:
    """A dummy scheme: its mark is a brighter answer, its verdict has none of ours' further numbers."""

    RECIPES = {"smoke": Recipe(2, 4, 1e-3)}

    @dataclasses.dataclass(frozen=True)
    class Verdict:
        verified: bool
        ncc: float
        ncc_verified: bool
        p_value: float

    def recipe(self, profile, kind):
        return self.RECIPES[profile]

    def make_key(self, seed, kind, host=None):
        return (seed, kind)

    def embed(self, host, key, batches, recipe, run=Run()):
        marked = attacks.prune(host, 0.0)
        marked.layers[-2].bias.assign(marked.layers[-2].bias - 0.1 * (1 + key[0]))
        return marked

    def update_key(self, key, marked):
        return key

    def verify(self, suspect, key, *, null_keys=0):
        return self.Verdict(True, 0.5, False, 0.25)


def test_a_dummy_scheme_goes_through_a_whole_table(lab, monkeypatch):
    """With no special case anywhere: one file with the verbs, and one entry."""
    dummy = Shifted()
    assert isinstance(dummy, schemes.Scheme)
    monkeypatch.setitem(sys.modules, "shifted", dummy)
    monkeypatch.setitem(schemes.MODULES, "shifted", "shifted")
    overwritten = [{"host": "dncnn", "scheme": "shifted", "keys": 1}]
    table = _table("schemes", "shifted")
    text = runner.make(lab, table, Options(schemes=["shifted"]))
    assert "scheme: shifted; d (10⁻³): –; NCC: 0.5000" in text and "trials: 1/1" in text  # it has no distance
    again = Table("further", "Demo.", overwritten, lambda profile, seed, host, scheme, keys: profile.mark(
        host, seed, scheme).under(*profile.overwriting(profile.mark(host, seed, scheme), keys)), measures.ROBUSTNESS)
    assert "| 1/1 " in runner.make(lab, again, Options(schemes=["shifted"]))


@pytest.mark.parametrize("name", schemes.MODULES)
def test_every_scheme_satisfies_the_protocol(name):
    scheme = schemes.get_scheme(name)
    assert isinstance(scheme, schemes.Scheme) and {"smoke", "quick", "paper"} <= set(scheme.RECIPES)
    assert all(isinstance(scheme.recipe(profile, Kind("sr", scale=2)), Recipe) for profile in scheme.RECIPES)


def test_a_larger_key_weighs_no_more_in_quick_and_what_the_paper_says_in_its_own():
    """With the same lambda a pixel, 80x80 pixels cost DnCNN 1 dB."""
    weights = {}
    for profile in ("quick", "paper"):
        for scheme in ("ours", "deepsigns"):
            recipes = [schemes.get_scheme(scheme).recipe(profile, Kind(size=size)) for size in (20, 40, 80)]
            weights[profile, scheme] = [recipe.strength / recipes[1].strength for recipe in recipes]
    assert weights["quick", "ours"] == weights["quick", "deepsigns"] == [1.0, 1.0, 0.25]
    assert weights["paper", "ours"] == weights["paper", "deepsigns"] == [1.0, 1.0, 1.0]
    held = [schemes.get_scheme("ours").recipe("quick", Kind("sr", size, 2)).preserving for size in (20, 40)]
    assert held == [1e-3, 0.25e-3]


def test_a_large_key_of_a_capacity_table_takes_fewer_steps_and_the_table_says_so():
    quick, paper = PROFILES["quick"], PROFILES["paper"]
    marks = {size: quick.sized("srdncnn", 0, size) for size in (40, 160, 320, 600)}
    assert [mark.size for mark in marks.values()] == [None, 80, 160, 300]
    assert [mark.recipe.steps for mark in marks.values()] == [1000, 1000, 500, 266]
    assert marks[160] == quick.mark("srdncnn", 0, size=80)
    assert marks[320].name != quick.mark("srdncnn", 0, size=160).name
    said = [any("fewer steps" in note for note in notes.marks_notes(quick, [mark])) for mark in marks.values()]
    assert said == [False, False, True, True]
    assert paper.sized("dncnn", 0, 600).recipe.steps == paper.mark("dncnn", 0).recipe.steps
    assert PROFILES["smoke"].sized("dncnn", 0, 600, "deepsigns").recipe.steps > 0


def test_the_papers_loss_of_any_recipe_has_nothing_ahead_or_beside():
    everything = dataclasses.replace(recipes.QUICK, lookahead=0.0, shadow=9, rivals=0.3, textures=0.3, preserving=1e-4,
                                     near=0.1, perturbing=0.02, projecting=0.25)
    plain = dataclasses.replace(everything, **PLAIN)
    assert plain == recipes.Embedding(1000, 32, 6e-4, strength=3e-4)


def test_a_table_never_loses_rows(lab, tmp_path):
    """Asked for fewer hosts than before, it prints those and keeps the others in its file."""
    lab = dataclasses.replace(lab, workdir=tmp_path)
    grid = [{"host": host, "scheme": "ours", "rate": 0.0} for host in ("dncnn", "red")]
    table = _table("kept", grid=grid)
    store = runner.Trials(lab, table).store
    values = {column.value: 0.5 for column in table.measure.columns}
    for row in grid:
        store.add({"id": runner.Trials(lab, table).identity(row, 0), "row": row, "seed": 0, "values": values,
                   "provenance": {"data": {"train": "a", "test": "b"}}})
    assert "RED" in runner.make(lab, table, Options(hosts=["dncnn", "red"]))
    assert "RED" not in runner.make(lab, table, Options(hosts=["dncnn"]))
    written = (tmp_path / "results/smoke/kept.md").read_text()
    assert "RED" in written and "DnCNN" in written


def test_only_the_rows_asked_for(lab):
    grid = [{"host": "dncnn", "scheme": "ours", "rate": rate} for rate in (0.0, 0.25, 0.5)]

    def chosen(*rows):
        return [row["rate"] for row in runner.chosen(lab, _table("some", grid=grid), Options(rows=rows))]

    assert chosen() == [0.0, 0.25, 0.5] and chosen("rate=0.25") == chosen("rate=.250") == [0.25]
    assert chosen("rate=0.5", "rate=0.0", "host=dncnn") == [0.0, 0.5]
    marked = [{"host": "dncnn", "scheme": name, "marked": name == "ours"} for name in ("none", "ours")]
    table = _table("marked", grid=marked, subject=lambda profile, seed, host, scheme, marked: profile.model(
        host, seed, scheme))
    assert runner.chosen(lab, table, Options(rows=["marked=true"])) == marked[1:]
    assert runner.chosen(lab, table, Options(schemes=["none"])) == marked[:1]
    for rows, says in (("rate=0.2", "one of 0.0, 0.25, 0.5"), ("rat=0.25", "an axis of the table, host")):
        with pytest.raises(ValueError, match=f"expected {says}"):
            chosen(rows)
    with pytest.raises(ValueError, match="no row of the table has --schemes=adi; it has host dncnn; scheme ours"):
        runner.make(lab, _table("some", grid=grid), Options(schemes=["adi"]))


def test_stop_after_leaves_holes(lab):
    text = runner.make(lab, _table("holes"), Options(stop_after=0.0))
    assert "0/1" in text and "–" in text


def test_damaged_checkpoints_are_noticed(lab):
    mark = lab.resolve(lab.profile.mark("dncnn", 0))
    lab.get(mark)
    path, host = (lab.cache.path(spec.name) for spec in (mark, mark.parent))
    path.write_bytes(path.read_bytes()[:-100])
    said = []
    fresh = dataclasses.replace(lab, log=said.append)
    fresh.get(mark)
    assert any("damaged" in line for line in said)
    content = host.read_bytes()
    host.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        dataclasses.replace(lab).get(mark.parent)
    with pytest.raises(CheckpointError, match="damaged"):  # and what was made of it, which is sound, stays
        dataclasses.replace(lab, log=said.append).get(mark)
    assert path.exists() and path.with_suffix(".json").exists()
    host.write_bytes(content)


def test_a_name_is_made_once_whoever_asks(tmp_path, tiny_host):
    made = []

    def make():
        made.append(1)
        time.sleep(0.2)
        return tiny_host, {"stage": "host", "host": "tiny"}

    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: Cache(tmp_path, ()).get("tiny", make), range(4)))
    assert len(made) == 1 and len({model.count_params() for model in models}) == 1
    (tmp_path / "tiny.json").unlink()  # killed before it said what the model is: it is made again
    assert Cache(tmp_path, ()).path("tiny") is None


FLAGS = {
    "--hosts=unet": "choose from dncnn, red, vdsr, srdncnn",
    "--schemes=theirs": "choose from ours",
    f"--data_dir={NO_DATA}": "no such folder",
    "--workdir=/proc/a": "cannot be written",
    "--shard=": "is a variable empty",
    "--shard=3/2": "expected i/n with 1 <= i <= n",
    "--rows=rte=0.5": "expected an axis of the table, host, scheme, rate",
    "quick": "unexpected argument",
    "--profile=fast": "smoke",
    "--nosuchflag": "nosuchflag",
    "--pictures=drawn": "is for scripts that draw figures",
}
# Each set of flags in a child of one process that has imported what takes seconds.
CHILDREN = """
import json, os, runpy, sys
from watermark.lab import scripts
for flags in sys.argv[3:]:
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([flags, code, *(open(sys.argv[2] + name).read() for name in ("out", "err"))]), flush=True)
    else:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(sys.argv[2] + name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), stream)
        sys.argv[1:] = ["--profile=smoke", f"--workdir={sys.argv[2]}", flags]
        runpy.run_path(SCRIPT, run_name="__main__")
"""


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """{flag: (exit code, stdout, stderr)} of the script."""
    folder = f"{tmp_path_factory.mktemp('flags')}/"
    program = CHILDREN.replace("SCRIPT", repr(str(SCRIPT)))
    lines = subprocess.run([sys.executable, "-c", program, SCRIPT, folder, *FLAGS, "--help"],
                           env=_environment(), capture_output=True, text=True, check=True).stdout.splitlines()
    return {flag: answer for flag, *answer in map(json.loads, lines)}


@pytest.mark.parametrize("flag", FLAGS)
def test_bad_flags_get_one_line(flag, answered):
    code, _, err = answered[flag]
    lines = err.splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error:") and FLAGS[flag] in lines[0]


def test_help_lists_the_flags_and_hosts_may_be_spelt_as_the_paper_does(answered):
    code, out, _ = answered["--help"]
    assert code == 0 and "--stop_after:" in out and "Table VI" in out
    assert Options(hosts=["SR-DnCNN", "red"]).hosts == ["srdncnn", "red"]


def test_a_longer_recipe_continues_from_the_host_there_is(lab):
    phases = lab.profile.hosts["dncnn"]
    longer = dataclasses.replace(lab.profile, hosts={"dncnn": (*phases, dataclasses.replace(phases[0], steps=1))})
    lab.get(lab.profile.host("dncnn"))
    spec = lab.resolve(longer.host("dncnn"))
    lab.get(spec)
    assert {path.name for path in lab.folder(spec).iterdir()} == {"phase2"}


def test_a_model_that_every_row_asks_for_is_read_once(lab, monkeypatch):
    """Whatever was asked for between; of the others as many stay as there is room for."""
    read, fresh = [], dataclasses.replace(lab)
    monkeypatch.setattr(type(lab), "_kept", lambda self, spec: read.append(spec) or spec)
    mark = lab.resolve(lab.profile.mark("dncnn", 0))
    others = [lab.resolve(lab.profile.host("dncnn", seed)) for seed in range(2 * LOADED)]
    for other in others:
        assert fresh.get(mark) == mark and fresh.get(other) == other
    assert read == [mark, *others] and len(fresh._loaded) == LOADED
    assert not pickle.loads(pickle.dumps(fresh))._loaded  # another process reads its own


def test_a_missing_set_has_another_stand_in_for_training_than_for_testing(lab):
    """The fault that a network is tested on images that it was trained on, whichever was asked for first."""
    for order in (("train", "test"), ("test", "train")):
        images = lab.images.elsewhere()
        found = {use: (getattr(images, f"{use}_name")("bsd68"), len(getattr(images, use)("bsd68"))) for use in order}
        assert found["train"] == ("sample_train", len(sets.SAMPLE_TRAIN))
        assert found["test"] == ("sample_test", len(sets.SAMPLE_TEST))


def test_another_seed_is_another_initialisation(lab):
    first, second = (lab.get(lab.profile.host("dncnn", seed)) for seed in (0, 1))
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])


def test_copyright_images_of_the_users_own(tmp_path):
    assert set(Images().copyright()) == {"logo.png", "sign.png"}
    Image.fromarray(np.full((30, 60, 3), 200, np.uint8)).save(tmp_path / "mine.png")
    found = Images(pictures=str(tmp_path)).copyright()
    assert [(name, image.shape) for name, image in found.items()] == [("mine.png", (320, 320))]
    with pytest.raises(DataError, match="no such folder of images"):
        Images(pictures=str(tmp_path / "absent")).copyright()


def test_a_longer_fine_tuning_goes_on_from_a_shorter_one(lab):
    """To the weights of an uninterrupted one; a shorter one asked for afterwards starts from the mark."""
    float32 = dataclasses.replace(lab, compute=Compute("float32"))
    mark, attack = lab.resolve(lab.profile.mark("dncnn", 0)), Finetune(4, 1e-4, 4, None, "sample_train", 2000)

    def tuned(steps):
        return float32.get(mark.under(dataclasses.replace(attack, steps=steps)))

    def folders():
        return {path.name for path in (lab.workdir / "runs").glob("dncnn-finetune-0-*") if path.is_dir()}

    before = folders()
    tuned(2)
    longer = tuned(4)
    assert len(folders() - before) == 1
    shorter = tuned(3)
    assert len(folders() - before) == 2
    for model, steps in ((longer, 4), (shorter, 3)):
        recipe = Recipe(steps, 4, 1e-4, schedule="constant")
        batches = float32.batches("dncnn", "sample_train", recipe, 2000)
        alone = attacks.finetune(float32.get(mark), batches, recipe, Run(compute=Compute("float32")))
        for a, b in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_ready_is_what_needs_no_training(lab, monkeypatch):
    """By hand: a pruned copy of a mark that is there, but none that is fine-tuned, and no other mark."""
    mark, other = (lab.profile.mark("dncnn", seed) for seed in (0, 7))
    monkeypatch.setattr(type(lab), "has", lambda self, spec: spec == mark)
    assert lab.ready(mark) and lab.ready(mark.under(Prune(0.5), Prune(0.6)))
    tuned = lab.profile.finetuning(mark, 1)
    assert not any(map(lab.ready, (other, other.under(Prune(0.5)), mark.under(tuned), mark.under(tuned, Prune(0.5)))))
    made = []
    table = _table("ready", measure=_measured(lambda lab, subjects, row: made.append(row) or {"psnr": 1.0}))
    more = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, trials=8))
    runner.Trials(more, table, Options(hosts=["dncnn"], ready=True)).make()
    assert made == table.grid
    measure = dataclasses.replace(table.measure, needs=lambda spec: mark)
    needless = dataclasses.replace(table, name="needless", measure=measure)
    runner.Trials(more, needless, Options(hosts=["dncnn"], ready=True)).make()
    assert len(made) == 9 * len(table.grid)  # whatever is not there


@pytest.mark.parametrize(("trained", "marked", "expected"), [
    ((), (), ["dncnn"]), (("red",), (), ["red"]), (("dncnn", "red"), ("red",), ["red"]),
    (("dncnn", "red"), ("dncnn", "red"), ["dncnn", "red"]),
])
def test_without_hosts_a_table_takes_those_that_are_ready(trained, marked, expected, lab, monkeypatch):
    """By hand: marked for every trial, else trained, else the first; and what is left out is said."""
    said = []
    there = [lab.profile.host(name) for name in trained] + [lab.profile.mark(name, 0) for name in marked]
    lab = dataclasses.replace(lab, log=said.append)
    monkeypatch.setattr(type(lab), "has", lambda self, spec: spec in there)
    grid = [{"host": host, "scheme": "ours", "rate": 0.1} for host in ("dncnn", "red")]
    rows = runner.chosen(lab, _table(grid=grid), Options())
    assert [row["host"] for row in rows] == expected
    assert len(said) == (len(expected) < 2)


def test_lambdas_are_told_apart():
    assert [tables._axis(value) for value in (0.001, 0.0, 0.3, 1.0, 2.5e-5)] == [
        "0.001", "0.00", "0.30", "1.00", "2.5e-05"]


PSNR = Measure(lambda *_: {}, (Column("PSNR (dB)", "psnr"),))


def test_what_needs_no_second_trial_has_one(lab):
    """An unmarked host is the same whatever the seed: of three trials it has one, a mark three."""
    grid = [{"host": "dncnn", "scheme": scheme} for scheme in ("none", "ours")]
    profile = dataclasses.replace(lab.profile, trials=3)
    table = Table("seeds", "", grid, lambda profile, seed, host, scheme: profile.model(host, seed, scheme), PSNR)
    trials = runner.Trials(dataclasses.replace(lab, profile=profile), table)
    assert [list(trials.seeds(row)) for row in grid] == [[0], [0, 1, 2]]
    later = dataclasses.replace(profile, first_seed=10)
    trials = runner.Trials(dataclasses.replace(lab, profile=later), table)
    assert [list(trials.seeds(row)) for row in grid] == [[0], [10, 11, 12]]
    assert "seeds from 10" in notes.marks_notes(later, [])[0]


def test_a_table_of_later_seeds_says_so_and_not_that_the_recipe_was_found_with_them(lab):
    table = Table("later", "", [{"host": "dncnn", "scheme": "ours"}],
                  lambda profile, seed, host, scheme: profile.mark(host, seed), dataclasses.replace(
                      PSNR, notes=notes.marks_notes))
    said = [runner.Trials(dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, first_seed=first)),
                          table).protocol() for first in (0, 10)]
    assert ["seeds from 10" in one for one in said] == [False, True]
    assert ["found with" in one for one in said] == [True, False]


def test_the_foot_of_a_table_says_how_marks_were_made_and_judged():
    quick = PROFILES["quick"]
    specs = [quick.mark("dncnn", 0, scheme) for scheme in schemes.MODULES]
    said = "; ".join(notes.robustness_notes(quick, specs))
    for clause in ("embedded by Muon, batch norms folded", "λ falls from 0.009 to 0.0003, the mark is learnt ahead",
                   "deepsigns' λ chosen on DnCNN", "4 of its 40 pictures", "its strict rule asks for 36"):
        assert clause in said, clause
    plain = "; ".join(notes.marks_notes(quick, [quick.plain("dncnn", 0, 1e-2)]))
    assert "embedded by Adam" in plain and "ahead" not in plain and "deepsigns" not in plain


def test_hosts_have_keys_of_their_own_where_the_profile_says_so(lab):
    """Else those of a kind share one a seed, as the marks that ship do; a mark's name says which."""
    shared, own = (dataclasses.replace(lab.profile, own_keys=own) for own in (False, True))
    marks = [profile.mark(host, 4) for profile in (shared, own) for host in ("dncnn", "red")]
    keys = [make_key(mark.key_seed, size=16).trigger.tobytes() for mark in marks]
    assert keys[0] == keys[1] and len(set(keys)) == 3
    assert len({mark.name for mark in marks}) == 4 and "own_key" not in marks[0].fields and marks[2].fields["own_key"]


def test_quality_is_held_against_the_unmarked_host(lab):
    """By hand: 30.00 and 29.97 dB are within .05, 29.90 is not."""
    grid = [{"host": "dncnn", "lam": lam} for lam in (1.0, 0.1, 0.0)]
    table = Table("quality", "", grid, lambda profile, seed, host, lam: profile.host(host), PSNR, Paper(),
                  {"lam": 0.0})
    trials = runner.Trials(lab, table, Options(hosts=["dncnn"]))
    for row, psnr in zip(grid, (29.90, 29.97, 30.00), strict=True):
        trials.store.add({"id": trials.identity(row, 0), "row": row, "seed": 0, "values": {"psnr": psnr},
                          "provenance": {"data": {"train": "a", "test": "b"}}})
    assert str(trials.score()) == "PSNR within 0.05 dB of the unmarked host in 1 of 2 cells"
    assert "Of the marked rows: PSNR" in trials.text()
    assert [d.row["lam"] for d in trials.score().disagreements] == [1.0]
    printed = Paper("quality", tuple(Line({"lam": lam}, {}, {"psnr": x}) for lam, x in ((1.0, 29.8), (0.0, 30.0))))
    trials.table = dataclasses.replace(table, paper=printed)
    assert str(trials.score().psnr) == "1 of 1" and not trials.score().disagreements  # the paper's 1.0 costs as much
