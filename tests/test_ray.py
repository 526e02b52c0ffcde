"""Trials on a Ray cluster of two nodes: a killed worker changes nothing."""

import dataclasses
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from watermark.lab import measures, runner
from watermark import keys, metrics
from watermark.attacks import Prune
from watermark.data import sets
from watermark.lab.cluster import ClusterError, Ray
from watermark.lab.execution import Watch
from watermark.lab.lab import Lab
from watermark.lab.profiles import PROFILES
from watermark.lab.runner import Options
from watermark.lab.tables import Table


def _records(lab):
    found = runner.Store(runner.results(lab), "table").records
    return {name: record | {"provenance": None} for name, record in found.items()}


@pytest.fixture
def table(tmp_path):
    """Two trials of two rates of pruning; the first time that a row is measured on the cluster, its worker dies."""
    dying = tmp_path / "dying"

    def values(lab, subjects, row):
        """A number of each subject's own; no network is trained, a worker's start alone takes seconds."""
        if row["rate"] and dying.exists():
            dying.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        (spec,) = subjects.values()
        key = keys.make_key(spec.name, size=16)
        return {"distance": metrics.distance(key.trigger, key.initial)}

    def subject(profile, seed, host, scheme, rate):
        return profile.mark(host, seed, scheme).under(Prune(rate))

    grid = [{"host": "dncnn", "scheme": "ours", "rate": rate} for rate in (0.0, 0.5)]
    return Table("table", "Demo.", grid, subject, dataclasses.replace(measures.ROBUSTNESS, values=values)), dying


@pytest.fixture
def cluster(monkeypatch):
    """The address of two nodes of one processor each."""
    utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or whatever else this machine does comes first
    nodes = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


def test_a_killed_worker_and_two_nodes_give_the_records_of_one_process(tmp_path, table, cluster):
    """And of shards; the local runner's records are the oracle."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    for name in ("train400", "set12"):
        for file in sets.sources()[name]["files"]:
            (tmp_path / "data" / name / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / name / file)
    table, dying = table
    profile = dataclasses.replace(PROFILES["smoke"], trials=2)
    whole = Lab.at(tmp_path / "whole", profile, data_dir=str(tmp_path / "data"), log=[].append)
    text = runner.make(whole, table, Options(hosts=["dncnn"]))
    assert len(_records(whole)) == 4 and "2/2" in text
    parts, spread = (dataclasses.replace(whole, workdir=tmp_path / name) for name in ("parts", "spread"))
    for i in (1, 2):
        runner.make(parts, table, Options(hosts=["dncnn"], shard=runner.Shard(i, 2)))
    dying.touch()
    assert runner.make(spread, table, Options(hosts=["dncnn"], runner=Ray(cluster))) == text
    assert not dying.exists()
    assert _records(spread) == _records(parts) == _records(whole)


def test_no_ray_is_said_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'watermark-image-dnn\[ray\]'"):
        Ray().run([], None, None, Watch("nothing"))
