"""Fixtures: tiny networks and images, and the real data beside the project where it exists."""

import os
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from owners import pictures
from tiny_hosts import TINY

from watermark import embedding, hosts, keys, tasks, visualizer
from watermark.cli import keygen
from watermark.data import sets
from watermark.lab.lab import Lab
from watermark.lab.profiles import PROFILES
from watermark.recipes import Embedding
from watermark.training import Compute

SHARED = Path(__file__).parents[2] / "shared"


def narrow(patch, share=4):
    """Visualizers of a quarter of the filters: the same layers and training, a tenth of the time."""
    for name in ("ENCODER", "DECODER"):
        patch.setattr(visualizer, name, [(filters // share, *rest) for filters, *rest in getattr(visualizer, name)])


@pytest.fixture(scope="session")
def data_dir():
    """Folder of real image sets; the test is skipped where there is none."""
    folder = Path(os.environ.get("WATERMARK_DATA", SHARED / "data"))
    if not folder.is_dir():
        pytest.skip(f"no image sets at {folder}: set WATERMARK_DATA")
    return folder


@pytest.fixture(scope="session")
def weights_dir():
    """Folder of public pretrained weights; the test is skipped where there is none."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(f"no public weights at {folder}")
    return folder


@pytest.fixture
def tiny_host():
    """A DnCNN of 4 layers and 8 filters, untrained."""
    keras.utils.set_random_seed(0)
    return hosts.fold_batch_norm(hosts.dncnn(depth=4, filters=8, name="tiny"))


@pytest.fixture(scope="session")
def tiny_batches():
    """Denoising batches of 4 patches 12x12, from smooth random images."""
    rng = np.random.default_rng(0)
    images = [np.uint8(127 + 100 * np.sin(np.add.outer(rng.random(40) + np.arange(40) / 5, np.arange(50) / 7)))
              for _ in range(3)]
    return tasks.Denoising().batches(images, seed=3, batch_size=4, size=12)


@pytest.fixture
def tiny_key():
    """A 12x12 key."""
    return keys.make_key("tiny", size=12)


@dataclass(frozen=True)
class Owned:
    """A small marked network, its key and the network before."""

    marked: keras.Model
    key: keys.Key
    host: keras.Model


@pytest.fixture(scope="session")
def owned():
    """A DnCNN of 4 layers that has learnt a key of 16x16 well enough to be found by its evidence."""
    rng = np.random.default_rng(0)
    images = [np.uint8(127 + 100 * np.sin(np.add.outer(rng.random(40) + np.arange(40) / 5, np.arange(50) / 7)))
              for _ in range(3)]
    keras.utils.set_random_seed(0)
    host = hosts.fold_batch_norm(hosts.dncnn(depth=4, filters=16, name="small"))
    key = keys.make_key("a secret", size=16, owner="Ada")
    batches = tasks.Denoising().batches(images, seed=3, batch_size=4, size=16)
    marked = embedding.embed(host, key, batches, Embedding(300, 4, 1e-2, strength=1.0), compute=Compute("float32"))
    return Owned(marked, embedding.update_key(key, marked), host)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A smoke lab on a machine that has no data set and no network; what it says is in `lab.log.__self__`.

    Its hosts and visualizers are tiny: what is tested is the lab.
    """

    def no_network(source, folder):
        raise sets.DataError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "download", no_network)
        patch.delenv("WATERMARK_DATA", raising=False)
        narrow(patch)
        for name, host in TINY.items():
            patch.setitem(hosts.HOSTS, name, host)
        yield Lab.at(tmp_path_factory.mktemp("lab"), PROFILES["smoke"], log=[].append)


@pytest.fixture
def known(monkeypatch):
    """The same keys and networks in every run; and what a test makes known to Keras is forgotten behind it."""
    monkeypatch.setattr(keygen.secrets, "token_hex", lambda count: "5e" * count)
    keras.utils.set_random_seed(1)
    before = dict(keras.saving.get_custom_objects())
    yield
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(before)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of three smooth pictures of 60x70 pixels."""
    return pictures(tmp_path_factory.mktemp("photos"))
