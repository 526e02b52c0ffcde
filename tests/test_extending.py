"""docs/extending.md, followed literally."""

import dataclasses
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from watermark.lab import runner
from watermark import hosts, schemes
from watermark.attacks import ATTACKS
from watermark.cli import attack as verb
from watermark.hosts import HOSTS, known
from watermark.lab.runner import Options

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
BLOCKS = {path: code for path, code in re.findall(r'```python title="([\w/.]+)"\n(.*?)```', PAGE, re.DOTALL)}


def test_a_block_for_a_file_brings_its_imports():
    """What is added to `known.py` names what it is added to, and nothing else that is not there."""
    code, imported = BLOCKS["watermark/hosts/known.py"], {}
    tiny = types.ModuleType("watermark.hosts.tiny")
    exec(BLOCKS["watermark/hosts/tiny.py"], vars(tiny))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, tiny.__name__, tiny)
        imported = vars(known) | {"HOSTS": {}}
        exec(code, imported)
    assert imported["HOSTS"]["tiny"].build is tiny.tiny


def _module(path, monkeypatch):
    """The file of a block, as imported."""
    name = path.removesuffix(".py").replace("/", ".")
    module = types.ModuleType(name)
    exec(compile(BLOCKS[path], path, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def jitter(monkeypatch):
    monkeypatch.setattr("watermark.attacks.base.ATTACKS", ATTACKS)
    module = _module("watermark/attacks/jitter.py", monkeypatch)
    yield module.Jitter
    del ATTACKS["jitter"]


def test_an_attack(jitter, tiny_host):
    from absl import flags

    assert ATTACKS["jitter"] is jitter
    before = tiny_host.get_weights()
    attacked, same = (jitter(width, 0)(tiny_host, None) for width in (0.1, 0.0))
    assert all(np.array_equal(a, b) for a, b in zip(before, tiny_host.get_weights(), strict=True))
    assert not np.array_equal(attacked.get_weights()[0], before[0]) and np.array_equal(same.get_weights()[0], before[0])
    values = flags.FlagValues()
    verb.KINDS["jitter"] = jitter
    try:
        verb.define(values)
    finally:
        del verb.KINDS["jitter"]
    assert "jitter" in values["kind"].parser.enum_values and values["width"].value == 0.01


def test_a_table(jitter, lab, monkeypatch):
    table = _module("experiments/table_jitter.py", monkeypatch).TABLE
    text = runner.make(lab, table, Options(hosts=["dncnn"]))
    assert "trials: 1/1" in text and "| 0.01 " in text and "| 0.05 " in text


def test_a_scheme(lab, monkeypatch):
    module = _module("watermark/baselines/brightness.py", monkeypatch)
    monkeypatch.setattr(schemes, "MODULES", dict(schemes.MODULES))
    exec(BLOCKS["watermark/schemes.py"], vars(schemes))
    assert schemes.get_scheme("brightness") is module and isinstance(module, schemes.Scheme)
    mark = lab.profile.mark("dncnn", 0, "brightness")
    assert module.verify(lab.get(mark), lab.key(mark)).verified
    assert not module.verify(lab.get(mark.parent), lab.key(mark)).verified


@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_a_host(lab, monkeypatch, tmp_path):
    module = _module("watermark/hosts/tiny.py", monkeypatch)
    try:
        exec(BLOCKS["watermark/hosts/known.py"], vars(known) | {"tiny": module.tiny})
        host = HOSTS["tiny"]
        model = host.build()
        assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == host.parameters
        hosts_of = lab.profile.hosts | {"tiny": lab.profile.hosts["dncnn"]}
        there = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, hosts=hosts_of))
        assert there.get(there.profile.mark("tiny", 0)).output_shape[-1] == 1
        assert hosts.get_host("Tiny") is host
        module.tiny(depth=5, kernel=5).save(tmp_path / "public.h5")
        assert hosts.load_pretrained("tiny", tmp_path / "public.h5").count_params() > host.parameters
    finally:
        HOSTS.pop("tiny", None)
