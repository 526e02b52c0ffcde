"""Benchmarks that go on after a kill. Oracle: the records of an undisturbed run."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from watermark.keys import make_key
from watermark.lab.store import Store


@pytest.fixture
def forgeries():
    path = Path(__file__).parents[1] / "benchmarks" / "forgeries.py"
    spec = importlib.util.spec_from_file_location("forgeries", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
