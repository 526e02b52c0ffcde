"""What both baselines draw their keys with: normal numbers and integers, the same on any machine."""

import functools

import numpy as np
from scipy import special

from watermark.keys import uniform

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
