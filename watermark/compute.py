"""What computes here, and how: precision, XLA, distribution, and how many steps are traced as one."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

PRECISIONS = ("bfloat16", "float32")
BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"
CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Compute:
    """How a step is computed; the one place for precision, XLA and distribution.

    Attributes:
      precision: "bfloat16" lets oneDNN compute convolutions, and all between the first and the last of a step, the
        loss included, in bfloat16 on a CPU that has it, with float32 weights (twice as fast, PSNR within 0.01 dB; parts
        of a loss are then told to 8 bits); elsewhere it changes nothing: `effective` says what is computed in.
        "float32" turns that off; what is verified or measured is always float32 (on GPUs TF32, as TensorFlow has it).
      xla: compiles the step with XLA. Slower on a CPU, meant for GPUs.
      strategy: a `tf.distribute.Strategy`, or None for one device. The model must have been made in its scope.
      chunk: steps that are traced as one; losses, `until`, validation and deadline are looked at between chunks. None:
        one on a CPU, where that costs nothing, 20 on a GPU, which would wait for the host after every step.
    """

    precision: str = "bfloat16"
    xla: bool = False
    strategy: tf.distribute.Strategy | None = None
    chunk: int | None = None

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}")

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Functions first called within run in this precision."""
        before = tf.config.optimizer.get_experimental_options().get(BFLOAT16, False)
        # Where the CPU has no bfloat16, oneDNN would imitate it, twenty times slower.
        tf.config.optimizer.set_experimental_options({BFLOAT16: self.effective == "bfloat16"})
        try:
            yield
        finally:
            tf.config.optimizer.set_experimental_options({BFLOAT16: before})

    @property
    def effective(self) -> str:
        """What convolutions are really computed in on this machine."""
        if self.precision == "float32" or _gpus():
            return "float32"
        there = CPU_FLAGS.read_text() if CPU_FLAGS.exists() else ""
        return "bfloat16" if "avx512_bf16" in there or "amx_bf16" in there else "float32"

    @property
    def steps(self) -> int:
        """Length of a chunk."""
        return self.chunk or (20 if _gpus() else 1)

    @property
    def placement(self) -> tf.distribute.Strategy:
        """The strategy, TensorFlow's default where there is none."""
        return self.strategy or tf.distribute.get_strategy()


def device() -> str:
    """What computes here: the first GPU's name, or the processor's kind and its cores."""
    if gpus := _gpus():
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))
    return f"{platform.machine()}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """{library: version} of what computes here."""
    return {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "numpy": np.__version__}


def _gpus():
    return tf.config.list_physical_devices("GPU")
