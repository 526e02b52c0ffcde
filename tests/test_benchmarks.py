"""Benchmarks: they go on after a kill, count what they say, and end in a line. Oracles: an undisturbed run; by hand."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from watermark import evidence
from watermark.errors import Stopped
from watermark.keys import make_key
from watermark.lab.store import Store

ROOT = Path(__file__).parents[1]


def _loaded(name, folder="benchmarks"):
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def forgeries():
    return _loaded("forgeries")


def test_a_line_that_a_kill_has_cut_is_made_again_and_no_other(forgeries, monkeypatch, tmp_path):
    made = []

    def by_gradient(model, drawn):
        for key in drawn:
            made.append(key.trigger)
            yield key, len(made)

    monkeypatch.setattr(forgeries.forging, "by_gradient", by_gradient)
    monkeypatch.setattr(forgeries, "outcome", lambda key, answer, nulls: {"rho": float(key.trigger.mean())})

    def found(tries):
        return forgeries.by_gradient(None, "forger", tries, "", Store(tmp_path, "unmarked-"), ())

    whole = found(3)
    assert [one["steps"] for one in whole] == [1, 2, 3] and found(3) == whole and len(made) == 3
    path = tmp_path / "unmarked-.jsonl"
    path.write_text(path.read_text()[:-9])
    assert found(3) == [*whole[:2], whole[2] | {"steps": 4}]
    np.testing.assert_array_equal(made[3], make_key("forger 2").trigger)
    assert found(2) == whole[:2] and len(made) == 4


def test_records_of_other_constants_are_other_records(forgeries, monkeypatch, tiny_host):
    before = forgeries.file_of("marked", tiny_host, "")
    assert forgeries.file_of("marked", tiny_host, "") == before != forgeries.file_of("marked", tiny_host, "Mallory")
    for module, name in ((forgeries.forging, "STEPS"), (forgeries.forging, "MARGIN"), (evidence, "LEAST_KEYS"),
                         (evidence, "FLOOR")):
        with monkeypatch.context() as other:
            other.setattr(module, name, getattr(module, name) * 2)
            assert forgeries.file_of("marked", tiny_host, "") != before


def test_the_z_that_is_printed_is_the_one_that_is_judged(forgeries):
    """Fresh keys that hardly differ: by their deviation alone z would be over the bar, by the floor it is not."""
    key, rng = make_key("forger 0"), np.random.default_rng(0)
    S = key.initial * 0.2 + rng.random(key.initial.shape)
    null = np.linspace(-1e-3, 1e-3, evidence.LEAST_KEYS)
    [row] = forgeries.rows("draw", [forgeries.outcome(key, S, [null])], [null])
    _, _, _, fresh, rho, lowest, highest, needed, _, by_z, accepted, committed = row
    assert (fresh, lowest, by_z, accepted, committed) == (evidence.LEAST_KEYS, highest, 0, 0, 0)
    assert rho > evidence.LEAST_RHO and highest < needed < rho / null.std(ddof=1)


# --- repeats --------------------------------------------------------------------------------------------------------


def _record(table, distance, **row):
    return {"table": table, "row": row, "subject": ["red-overwrite-0"], "values": {"distance": distance}}


def test_a_measurement_in_two_tables_is_one_repeat(capsys, monkeypatch):
    script = _loaded("repeats")
    found = {(table, "id"): {distance: _record(table, distance, host="red") for distance in (2e-3, 2.1e-3, 2.10001e-3)}
             for table in ("table8", "table9")}
    found["table8", "other"] = {distance: _record("table8", distance, host="vdsr") for distance in (2e-3, 1.8e-3)}
    monkeypatch.setattr(script, "versions", lambda: found)
    script.main()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[0] == "table8: host red: d 2.000 to 2.100e-3"
    assert said[2] == "2 repeats: d is 7.5% apart in the median, 10.0% at most"


def test_a_history_without_repeats_and_none_at_all_are_said(monkeypatch, tmp_path):
    script = _loaded("repeats")
    with monkeypatch.context() as shallow, pytest.raises(ValueError, match="no record was made twice"):
        shallow.setattr(script, "versions", lambda: {})
        script.main()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(script, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="no history that git can read") as error:
        script.main()
    assert "\n" not in str(error.value)


# --- the sweep of baselines -----------------------------------------------------------------------------------------


class Given(SimpleNamespace):
    """Stands for absl's flags."""

    def __getitem__(self, name):
        return SimpleNamespace(value=getattr(self, name))


@pytest.fixture
def sweeping(monkeypatch, tmp_path):
    """The script, whose second point meets a deadline."""
    script, made = _loaded("sweep_baselines"), []

    def measure(scheme, host_name, recipe, folder, deadline=None):
        if len(made) == 1 and deadline:
            raise Stopped("the time is up")
        made.append(recipe.strength)
        return {"psnr_loss": 0.1, "seconds": 1.0, "ncc": 0.9, "correct": 40, "p_value": 0.0}

    monkeypatch.setattr(script, "measure", measure)
    monkeypatch.setattr(script, "FLAGS", Given(scheme="adi", minutes=5.0, steps=None, batch_size=None, stop=None,
                                               strengths=["0", "1e-3"], hosts=["dncnn", "red"], workdir=tmp_path))
    return script


def test_nothing_is_chosen_before_all_strengths_are_made(sweeping, capsys):
    with pytest.raises(Stopped, match="1 of 2 strengths made on dncnn"):
        sweeping.main()
    assert "chosen" not in capsys.readouterr().out
    sweeping.FLAGS.minutes = None
    sweeping.main()
    assert capsys.readouterr().out.count("chosen: adi") == 2


def test_a_host_of_other_weights_is_swept_anew(sweeping, monkeypatch, tiny_host, tmp_path):
    sweeping.FLAGS.minutes, sweeping.FLAGS.hosts = None, ["dncnn"]
    sweeping.main()
    monkeypatch.setattr(sweeping, "load_host", lambda name: tiny_host)
    sweeping.main()
    rows = [record["row"] for record in Store(tmp_path, "records").records.values()]
    assert len(rows) == 4 and len({row["weights"] for row in rows}) == 2


# --- how scripts end ------------------------------------------------------------------------------------------------

# Each command line in a child of one process that has imported what takes seconds.
CHILDREN = """
import json, os, runpy, sys
from watermark.lab import elsewhere, scripts
from watermark.baselines import adi, deepsigns
out, commands = sys.argv[1], json.loads(sys.argv[2])
for command in commands:
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, *(open(out + name).read() for name in ("out", "err"))]), flush=True)
    else:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(out + name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), stream)
        sys.argv[:] = command.split()
        sys.path.insert(0, os.path.dirname(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")
"""
ENDING = """
from watermark.errors import Interrupted
from watermark.lab import scripts

def main():
    {}

scripts.run_script(main)
"""
SWEEP, FOLDED = "benchmarks/sweep_baselines.py", "benchmarks/pruning_folded.py --weights=nosuch.h5"
REFUSED = {
    f"{SWEEP} scheme=adi": "unexpected argument 'scheme=adi'",
    f"{SWEEP} --strengths=": "--strengths=: expected a value",
    f"{SWEEP} --strengths=1e-4,abc": "--strengths=1e-4,abc: expected numbers",
    f"{SWEEP} --strengths=nan": "strength: expected a finite number",
    f"{SWEEP} --strengths=-1": "strength: expected a finite number",
    f"{SWEEP} --minutes=nan": "--minutes=nan: expected a finite number",
    f"{SWEEP} --minutes=-1": "minutes",
    f"{SWEEP} --stop": "--stop is for --scheme=adi",
    f"{SWEEP} --hosts=": "--hosts=: expected a value",
    FOLDED: "nosuch.h5: no such weights file",
    f"{FOLDED} --rates=abc": "--rates=abc: expected shares on [0, 1]",
    f"{FOLDED} --rates=.5,2": "--rates=.5,2: expected shares on [0, 1]",
    f"{FOLDED} --rates=nan": "--rates=nan: expected shares on [0, 1]",
    "benchmarks/pruning_folded.py": "--weights",
    "benchmarks/embedding_step.py --hosts=": "--hosts=: expected a value",
    "benchmarks/evaluation.py --hosts=": "--hosts=: expected a value",
    "benchmarks/forgeries.py --tries=0": "tries",
    "benchmarks/hostile_inputs.py 7": "unexpected argument '7'",
    "benchmarks/repeats.py --table=table8": "table",
    "experiments/jobs.py --of=./table6_pruning.py --out=OUT": "--of=./table6_pruning.py: expected the name of a table",
    "experiments/jobs.py --of=table6_pruning, --out=OUT": "--of=: expected the name of a table",
    "experiments/jobs.py --profile=smoke --workdir=OUT --hosts=red --take=nosuch": "nosuch: no such folder",
    "experiments/jobs.py --of=jobs --out=OUT": "--of=jobs: expected the name of a table",
}
ENDINGS = {'raise Interrupted("stopped at step 3")': (130, "", "stopped at step 3; the same command goes on\n"),
           "raise KeyboardInterrupt": (130, "", "stopped; the same command goes on with what is kept\n"),
           "raise OSError(28, 'No space left on device')": (2, "", "error: [Errno 28] No space left on device\n"),
           "return 1": (1, "", ""), "print(7)": (0, "7\n", "")}


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """{command line: (exit code, stdout, stderr)}."""
    folder = tmp_path_factory.mktemp("ends")
    commands = {name: f"{ROOT}/{name}".replace("OUT", str(folder / "jobs")) for name in (*REFUSED, f"{SWEEP} --help")}
    for number, line in enumerate(ENDINGS):
        (folder / f"{number}.py").write_text(ENDING.format(line))
        commands[line] = str(folder / f"{number}.py")
    done = subprocess.run([sys.executable, "-c", CHILDREN, f"{folder}/", json.dumps(list(commands.values()))],
                          env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}, cwd=folder,
                          capture_output=True, text=True, check=True)
    return dict(zip(commands, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("command", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(command, answered):
    code, said, error = answered[command]
    assert (code, said) == (2, "") and error.startswith("error: ") and error.count("\n") == 1, error
    assert REFUSED[command] in error


@pytest.mark.parametrize("line", ENDINGS)
def test_a_script_ends_with_its_code(line, answered):
    assert tuple(answered[line]) == ENDINGS[line]


def test_help_lists_the_flags_that_take_several_values_too(answered):
    code, said, _ = answered[f"{SWEEP} --help"]
    assert code == 0 and all(f"  --{name}: " in said for name in ("strengths", "hosts", "scheme", "minutes"))
