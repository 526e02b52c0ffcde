"""A sample of benchmarks/hostile_inputs.py: all end in one of the project's errors, or are read as what they are."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import hostile_inputs

SAMPLE = {"keys": 30, "claims": 30, "models": 6, "images": 15, "folders": 15, "answers": 30}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A folder of honest inputs."""
    folder = tmp_path_factory.mktemp("honest")
    hostile_inputs.prepare(folder)
    return folder


@pytest.mark.parametrize("family", hostile_inputs.FAMILIES)
def test_a_sample_ends_well(family, honest):
    found = [hostile_inputs.outcome(family, number, honest) for number in range(SAMPLE[family])]
    assert not [why for end, why in found if end == "VIOLATION"]
    assert any(end == "refused" for end, _ in found)
