"""The example keys open the shipped marked models, and no others."""

import stat
from pathlib import Path

import numpy as np
import pytest

from watermark import keys, verification
from watermark.hosts import HOSTS
from watermark.suspects import load_suspect

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "keys"


def _key(host):
    return keys.load_key(FOLDER / f"{host}.npz")


def _shipped(host):
    return load_suspect(ROOT / "checkpoints" / f"{host}-marked")


@pytest.mark.parametrize("host", HOSTS)
def test_the_key_is_that_of_the_bare_seed_and_opens_its_model(host):
    """Oracles: the key drawn again, K and S0 to the bit; the model's own answer; the bar of the evidence."""
    key = _key(host)
    again = keys.draw_key(0, key.kind)
    assert (key.owner, key.secret) == ("", "") and key.kind.task == HOSTS[host].task
    np.testing.assert_array_equal(key.trigger, again.trigger)
    np.testing.assert_array_equal(key.initial, again.initial)
    verdict = verification.verify(_shipped(host), key, null_keys=100, bare_seed=0)
    assert verdict.distance < 1e-6 and verdict.evident and verdict.z_score > 15


def test_the_unmarked_host_is_not_opened():
    verdict = verification.verify(load_suspect(ROOT / "checkpoints" / "dncnn-host-0-c275a47804.keras"), _key("dncnn"),
                                  null_keys=100, bare_seed=0)
    assert not verdict.evident and not verdict.within_threshold


def test_they_are_public_and_say_so():
    """Git keeps the bit that makes a file executable and no other, so readable by all is what a checkout gives."""
    assert {path.stem for path in FOLDER.glob("*.npz")} == set(HOSTS)
    words = (FOLDER / "README.md").read_text()
    assert "prove nothing" in words and "0644" in words
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o111 for path in FOLDER.glob("*.npz"))
