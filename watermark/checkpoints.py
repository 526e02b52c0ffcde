"""Checkpoint folders: model files beside a manifest that says what each is and has its hash."""

import json
from pathlib import Path

import keras

from watermark.errors import WatermarkError
from watermark.files import alone, sha256, whole
from watermark.hosts import get_host

INSTALLED = Path(__file__).parent / "shipped"  # of a wheel (setup.py); a checkout has them at its top
SHIPPED = INSTALLED if INSTALLED.is_dir() else Path(__file__).parents[1] / "checkpoints"


class CheckpointError(WatermarkError, RuntimeError):
    """A checkpoint that is damaged or missing and cannot be made again on the spot."""


def read_manifest(folder):
    """{file: {"sha256", "recipe", ...}} of a checkpoint folder; empty if it has none."""
    path = Path(folder) / "manifest.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore it with 'git checkout {path}'") from error


def annotate(folder, file, fields):
    """Adds fields to a file's entry in the folder's manifest."""
    path = Path(folder) / "manifest.json"
    with alone(path):
        manifest = read_manifest(folder)
        manifest[file] = manifest.get(file, {}) | fields
        with whole(path) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def load(path, entry):
    """The model at `path`, a CheckpointError unless it is the file that the manifest's `entry` speaks of."""
    if sha256(path) != entry["sha256"]:
        raise CheckpointError(f"{path} is damaged (its SHA-256 is not the manifest's); restore it with "
                              "'git checkout', or delete it to have it made again")
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def load_host(name, folder=SHIPPED):
    """The trained host that the project ships.

    Args:
      name: "dncnn", "red", "vdsr" or "srdncnn".
      folder: a checkpoint folder with a manifest; by default the project's `checkpoints/`, or what its wheel holds.

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] -> same shape, any H and W. VDSR and SR-DnCNN take the small image
      already brought to size by bicubic upsampling.

    Raises:
      CheckpointError: there is no such host in the folder, or its file is damaged.
    """
    manifest = read_manifest(folder)
    hosts = {file: entry for file, entry in manifest.items()
             if entry["stage"] == "host" and entry["host"] == get_host(name).name and (Path(folder) / file).exists()}
    if not hosts:
        there = ", ".join(sorted({entry["host"] for entry in manifest.values()})) or "none"
        raise CheckpointError(f"no trained {name} in {Path(folder).resolve()} (hosts there: {there}); train it: "
                              f"python experiments/train_hosts.py --hosts={name}")
    file = max(hosts, key=lambda file: _psnr(hosts[file]))  # a work folder may hold shorter trainings too
    return load(Path(folder) / file, hosts[file])


def _psnr(entry):
    return max((measured["psnr"] for measured in entry.get("quality", {}).values()), default=0.0)
