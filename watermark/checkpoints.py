"""Kept models: a model file beside a JSON file of the same name that says what it is and has its hash."""

from __future__ import annotations

import json
from pathlib import Path

import keras

from watermark.errors import WatermarkError
from watermark.files import atomic_write, locked, sha256, write
from watermark.hosts import get_host

INSTALLED = Path(__file__).parent / "shipped"  # of a wheel (setup.py); a checkout has them at its top
SHIPPED = INSTALLED if INSTALLED.is_dir() else Path(__file__).parents[1] / "checkpoints"


class CheckpointError(WatermarkError, RuntimeError):
    """A checkpoint that is damaged or missing and cannot be made again on the spot."""


def sidecar(path: Path) -> Path:
    """The JSON file beside a model file."""
    return Path(path).with_suffix(".json")


def kept(path: Path) -> bool:
    """Whether a model is kept at `path`."""
    return Path(path).exists() and sidecar(path).exists()


def describe(path: Path) -> dict:
    """What is known of the model at `path`: what it is made of, "sha256", and more."""
    try:
        return json.loads(sidecar(path).read_text())
    except ValueError as error:
        raise CheckpointError(f"{sidecar(path)} is damaged ({error}); restore it with 'git checkout {sidecar(path)}'"
                              ) from error


def models(folder: Path = SHIPPED) -> dict[str, dict]:
    """{file: what is known of it} of the models that a folder holds."""
    return {path.name: describe(path) for path in sorted(Path(folder).glob("*.keras")) if kept(path)}


def keep(model: keras.Model, path: Path, fields: dict) -> None:
    """Writes a model, then what it is: one without the other does not count."""
    with atomic_write(path) as temporary:
        model.save(temporary)
    _write(path, fields | {"sha256": sha256(path)})


def annotate(path: Path, fields: dict) -> None:
    """Adds to what is known of a kept model."""
    with locked(sidecar(path)):
        _write(path, describe(path) | fields)


def _write(path, fields):
    write(sidecar(path), json.dumps(fields, indent=1, sort_keys=True) + "\n")


def load(path: Path) -> keras.Model:
    """The model kept at `path`; a CheckpointError unless it is the one that was written there."""
    if sha256(path) != describe(path).get("sha256"):
        raise CheckpointError(f"{path} is damaged (its SHA-256 is not that in {sidecar(path).name}); restore it with "
                              "'git checkout', or delete it to have it made again")
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def load_host(name: str, folder: Path = SHIPPED) -> keras.Model:
    """The trained host that the project ships.

    >>> load_host("red").input_shape
    (None, None, None, 1)

    Args:
      name: "dncnn", "red", "vdsr" or "srdncnn".
      folder: of checkpoints; by default the project's `checkpoints/`, or what its wheel holds.

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] -> same shape, any H and W. VDSR and SR-DnCNN take the small image
      already brought to size by bicubic upsampling.

    Raises:
      CheckpointError: there is no such host in the folder, or its file is damaged.
    """
    there = {file: entry for file, entry in models(folder).items() if entry.get("stage") == "host"}
    hosts = {file: entry for file, entry in there.items() if entry["host"] == get_host(name).name}
    if not hosts:
        names = ", ".join(sorted({entry["host"] for entry in there.values()})) or "none"
        raise CheckpointError(f"no trained {name} in {Path(folder).resolve()} (hosts there: {names}); train it in a "
                              f"checkout of the project: python experiments/train_hosts.py --hosts={name}")
    # Other initialisations, which tables compare with, may be there; in a work folder shorter trainings too.
    return load(Path(folder) / max(hosts, key=lambda file: (-hosts[file].get("seed", 0), _psnr(hosts[file]))))


def _psnr(entry):
    return max((measured["psnr"] for measured in entry.get("quality", {}).values()), default=0.0)
