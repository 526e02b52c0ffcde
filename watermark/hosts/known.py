"""The hosts that the project has, and what is particular to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from watermark.hosts.dncnn import dncnn, srdncnn
from watermark.hosts.red import red
from watermark.hosts.vdsr import vdsr


@dataclass(frozen=True, kw_only=True)
class Host:
    """What is particular to one host; tables loop over `HOSTS` and never ask for a name.

    Attributes:
      name: key in `HOSTS`.
      title: as the paper spells it.
      build: makes the untrained network, float32 [B, H, W, 1] -> [B, H, W, 1]; public weights are read into one of
        another `depth` and `kernel`.
      task: key in `watermark.tasks.TASKS`.
      train_set, test_sets: names in `watermark.data`; the first test set is the one of the robustness tables.
      patch: side of a training patch in pixels.
      trigger: side of the trigger image in pixels.
      parameters: trainable parameters in the form that the paper counts (with batch norm).
      other_set: images of another kind, for fine-tuning on new data.
      scale: what the trigger is upsampled by.
      clip: bound on the gradient's global norm, or None.
      norms: whether the paper's network has batch norms.
    """

    name: str
    title: str
    build: Callable[..., keras.Model]
    task: str
    train_set: str
    test_sets: tuple[str, ...]
    patch: int
    trigger: int
    parameters: int
    other_set: str
    scale: int = 1
    clip: float | None = None
    norms: bool = True


DENOISER = dict(task="denoise", train_set="train400", test_sets=("set12", "bsd68"), patch=40, trigger=40,
                other_set="kth_tips_train")
ENLARGER = dict(task="sr", train_set="291", test_sets=("set14", "set5"), patch=41, trigger=20, other_set="urban100",
                scale=2)
HOSTS = {
    host.name: host
    for host in (
        Host(name="dncnn", title="DnCNN", build=dncnn, parameters=556_097, **DENOISER),
        Host(name="red", title="RED", build=red, parameters=408_064, **DENOISER),
        Host(name="vdsr", title="VDSR", build=vdsr, parameters=665_921, clip=0.4, norms=False, **ENLARGER),
        Host(name="srdncnn", title="SR-DnCNN", build=srdncnn, parameters=556_097, **ENLARGER),
    )
}


def get_host(name: str) -> Host:
    """The host of a name, or of the paper's spelling of it; a ValueError lists the choices."""
    name = {host.title.lower(): host.name for host in HOSTS.values()}.get(name.lower(), name)
    if name not in HOSTS:
        raise ValueError(f"unknown host {name!r}; choose from {', '.join(HOSTS)}")
    return HOSTS[name]
