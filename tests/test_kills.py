"""Processes of the lab that are killed, or share the work. Oracle: the table of two that were left in peace."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "experiments" / "table6_pruning.py"
TABLE = "results/smoke/table6_pruning"
KILLS = int(os.environ.get("WATERMARK_KILLS", 0))
MILESTONES = {"a training's state": "runs/**/state.npz", "a model": "checkpoints/*.keras", "a record": f"{TABLE}.jsonl"}


def _start(workdir, *flags):
    command = [sys.executable, Path(__file__).with_name("tiny_hosts.py"), SCRIPT]
    environment = {k: v for k, v in os.environ.items() if k != "WATERMARK_DATA"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([*command, "--profile=smoke", "--trials=2", f"--workdir={workdir}", *flags],
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A work folder that two processes filled at the same time, undisturbed."""
    folder = tmp_path_factory.mktemp("calm")
    both = [_start(folder) for _ in range(2)]
    tables = {process.communicate()[0][-2000:] for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(tables) == 1
    return folder


def test_two_processes_make_each_model_and_each_record_once(calm):
    records = [json.loads(line) for line in (calm / f"{TABLE}.jsonl").read_text().splitlines()]
    assert len(records) == len({record["id"] for record in records}) == 8
    states = sorted(path.parent.name for path in (calm / "runs").rglob("state.npz"))
    assert len(states) == 4 and len(list((calm / "checkpoints").glob("*.keras"))) == 3


def test_shards_make_one_table(calm, tmp_path):
    """Of models that are there already."""
    for part in ("checkpoints", "runs"):
        shutil.copytree(calm / part, tmp_path / part)
    parts = [_start(tmp_path, f"--shard={i}/2") for i in (1, 2)]
    for process in parts:
        process.communicate()
        assert process.returncode == 0
    assert (tmp_path / f"{TABLE}.md").read_bytes() == (calm / f"{TABLE}.md").read_bytes()
    counts = {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "results/smoke").glob("*.jsonl")}
    assert sum(counts.values()) == 8 and set(counts) <= {"table6_pruning.1of2.jsonl", "table6_pruning.2of2.jsonl"}


def _kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


def _reaches(process, folder, pattern, before):
    """Waits until there is a file of the pattern that was not there before, the process being alive."""
    end = time.monotonic() + 600
    while not set(folder.glob(pattern)) - before:
        assert process.poll() is None, f"it ended without {pattern}"
        assert time.monotonic() < end, f"no {pattern}"
        time.sleep(0.05)


def test_killed_anywhere_and_started_again_gives_the_same_table(calm, tmp_path):
    """SIGKILL as soon as each milestone is there; WATERMARK_KILLS=30 for as many more at random moments."""
    for what, pattern in MILESTONES.items():
        before = set(tmp_path.glob(pattern))
        process = _start(tmp_path)
        _reaches(process, tmp_path, pattern, before)
        assert _kill(process) == -signal.SIGKILL, what
    assert len((tmp_path / f"{TABLE}.jsonl").read_text().splitlines()) < 8  # something is left to do
    chance = random.Random(0)
    for _ in range(KILLS):
        process = _start(tmp_path)
        time.sleep(chance.uniform(4.0, 30.0))
        _kill(process)
    last = _start(tmp_path)
    last.communicate()
    assert last.returncode == 0
    assert (tmp_path / f"{TABLE}.md").read_bytes() == (calm / f"{TABLE}.md").read_bytes()
    assert not list(tmp_path.rglob(".part-*"))
