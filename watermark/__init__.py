"""Watermarks for image-processing networks: Quan, Teng, Chen, Ji, TNNLS 2020, in TensorFlow and Keras.

host = watermark.load_host("dncnn")
key = watermark.make_key(secret, owner="Ada Lovelace")
marked = watermark.embed(host, key, batches)
key = watermark.update_key(key, marked)
verdict = watermark.verify(suspect, key)
"""

import importlib
import os

# TensorFlow's own default is on where a CPU has AVX512-VNNI, off before that; convolutions are faster by it there, too.
# It counts if this is imported before TensorFlow. TF_ENABLE_ONEDNN_OPTS=0 python benchmarks/embedding_step.py compares.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_HOMES = {
    "Key": "keys", "Kind": "kinds", "Verdict": "verification", "WatermarkError": "errors", "commit": "commitments",
    "embed": "embedding", "export": "exporting", "load_host": "checkpoints", "load_key": "keys",
    "load_suspect": "suspects", "make_key": "keys", "save_key": "keys", "update_key": "embedding",
    "verify": "verification",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name):
    # TensorFlow takes seconds to import and talks while it does: only what is asked for is loaded.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return __all__
