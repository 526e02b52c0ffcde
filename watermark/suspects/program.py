"""Any Python function of the user's own as a suspect: whatever is not served, stored or written down otherwise."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from watermark.errors import ModelError, raised_as
from watermark.ports import SuspectError

NAMED = re.compile(r"(?P<path>.+\.py):(?P<name>\w+)")


def is_function(spec: object) -> bool:
    """Whether a suspect is named as FILE.py:FUNCTION."""
    return bool(NAMED.fullmatch(str(spec)))


def load_function(spec: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function of "ask.py:function" as a suspect. The file is run: it is the user's own, named by the user.

    Args:
      spec: FILE.py:FUNCTION; the function takes float32 images [N, H, W, C] on [0, 1] and returns [N, H', W', C].

    Raises:
      ModelError: the file does not run, or has no such function.
    """
    path, name = NAMED.fullmatch(spec).groups()
    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file")
    with raised_as(ModelError, f"{path} does not run"):
        described = importlib.util.spec_from_file_location(f"_watermark_{Path(path).stem}", path)
        module = sys.modules[described.name] = importlib.util.module_from_spec(described)  # dataclasses look there
        described.loader.exec_module(module)
    if not callable(ask := getattr(module, name, None)):
        there = ", ".join(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        raise ModelError(f"{path} has no function {name}; it has {there or 'none'}")

    def suspect(images):
        with raised_as(SuspectError, f"{spec} does not answer images of shape {list(np.shape(images))}"):
            return np.asarray(ask(np.asarray(images, np.float32)), np.float32)

    suspect.watched = True  # what it asks, likely a service, sees which question comes when
    return suspect
