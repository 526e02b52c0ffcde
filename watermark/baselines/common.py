"""What both baselines share: normal numbers and integers, the same on any machine, and how false claims are counted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from scipy import special

from watermark.blackbox import as_suspect
from watermark.evidence import Rate, clopper_pearson
from watermark.keys import uniform
from watermark.kinds import Kind

QUANTILES = 1 << 16
FINENESS = 1 << 12


@functools.cache
def _quantiles():
    return np.float32(np.round(FINENESS * special.ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)) / FINENESS)


def normal(seed: str, shape: tuple) -> np.ndarray:
    """N(0, 1), float32, the same on any machine.

    Each draw is one of 65,536 equally likely quantiles (the outermost 4.3), rounded to 1/4096: no quantile lies so
    near to the middle of two such steps that a machine's rounding could decide.
    """
    return _quantiles()[np.int32(uniform(seed, shape) * QUANTILES)]


def integers(seed: str, shape: tuple, below: int = 256) -> np.ndarray:
    """Uniform int64 on 0 ... below - 1, the same on any machine; `below` is a power of 2 up to 2^24, or near enough."""
    return np.int64(np.float64(uniform(seed, shape)) * below)


def false_positives(scheme: Any, suspect: keras.Model | Callable, kind: Kind, keys: int = 1000,
                    label: str = "null") -> Rate:
    """The share of fresh keys that are verified on a suspect which has seen none of them, with its 95 % interval.

    `scheme` is a baseline's module. Labels are drawn without regard to any model, as a stranger's are.
    """
    suspect = as_suspect(suspect, kind)  # one trace for all
    found = sum(scheme.verify(suspect, scheme.make_key(f"{label} {i}", kind)).verified for i in range(keys))
    return clopper_pearson(found, keys)
