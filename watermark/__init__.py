"""Watermarks for image-processing networks: Quan, Teng, Chen, Ji, TNNLS 2020, in TensorFlow and Keras.

host = watermark.load_host("dncnn")
key = watermark.make_key(seed)
marked = watermark.embed(host, key, batches, steps=1200)
key = watermark.update_key(key, marked)
verdict = watermark.verify(suspect, key)
"""

from watermark.checkpoints import load_host
from watermark.embedding import embed, update_key
from watermark.keys import Key, load_key, make_key, save_key
from watermark.verification import Verdict, verify

__all__ = ["Key", "Verdict", "embed", "load_host", "load_key", "make_key", "save_key", "update_key", "verify"]
__version__ = "0.1.0"
