"""watermark inspect --file=FILE

Says what a key, commitment, private key's public half, or model file is. Shows no pixel and no secret.
"""

from pathlib import Path

import keras
import numpy as np
from absl import flags

from watermark import commitments
from watermark.files import sha256
from watermark.hosts import folding
from watermark.keys import derived, load_key
from watermark.metrics import threshold
from watermark.models import load_model
from watermark.suspects import is_saved_model, load_suspect


def define(values):
    """The verb's flags."""
    flags.DEFINE_string("file", None, "what to look at", flag_values=values)
    flags.DEFINE_bool("allow_lambda", False, "run Python code that a model file carries", flag_values=values)


def run(values):
    """Prints name: value lines."""
    if not values.file:
        raise ValueError("--file=… is needed: what to look at")
    path = Path(values.file)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    readers = {".npz": _key, ".json": _commitment, ".pem": _signing_key}
    model = path.suffix in (".keras", ".h5", ".hdf5")
    facts = _model(path, values) if model else readers.get(path.suffix, _suspect)(path)
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def _key(path):
    key = load_key(path)
    embedded = not np.array_equal(key.initial, key.verification)
    mode = path.stat().st_mode & 0o777
    return {"kind": "key", **key.kind.as_dict(), "owner": key.owner or "none: K was drawn from a bare seed",
            "derived": "yes, from owner and secret" if derived(key) else "no", "embedded": "yes" if embedded else "no",
            "threshold η": f"{threshold(key.verification.size):.3g}", "commitment": commitments.commit(key)["key"],
            "mode": f"{mode:04o}" + ("" if mode & 0o077 == 0 else "  WARNING: others on this machine can read it")}


def _commitment(path):
    commitment = commitments.load_commitment(path)
    signed = commitments.signature_holds(commitment) if "signature" in commitment else None
    return {"kind": "commitment", **commitment,
            "signature": {None: "none", True: "holds", False: "DOES NOT HOLD"}[signed]}


def _signing_key(path):
    private = commitments.load_signing_key(path)
    return {"kind": "Ed25519 private key", "public key": private.public_key().public_bytes_raw().hex()}


def _model(path, values):
    model = load_model(path, allow_lambda=values.allow_lambda)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    foldable = len(folding.foldable(model)) if hasattr(model, "operations") else 0
    return {"kind": f"Keras {type(model).__name__} {model.name!r}", "inputs": [tuple(i.shape) for i in model.inputs],
            "outputs": dict(zip(model.output_names, [tuple(o.shape) for o in model.outputs], strict=True)),
            "parameters": f"{model.count_params():,}", "layers": len(model.layers),
            "batch norms": f"{len(norms)}, {foldable} of them foldable", "SHA-256": sha256(path)}


def _suspect(path):
    load_suspect(path)
    if path.is_dir():
        return {"kind": "SavedModel" if is_saved_model(path) else "folder of response images"}
    return {"kind": path.suffix[1:], "SHA-256": sha256(path)}
