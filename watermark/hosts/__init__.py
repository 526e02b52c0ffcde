"""The networks that carry the watermark. This folder imports Keras only, so hosts run under any of its backends."""

from collections.abc import Callable
from dataclasses import dataclass

from watermark.hosts.dncnn import dncnn
from watermark.hosts.folding import fold_batch_norm
from watermark.hosts.red import red
from watermark.hosts.vdsr import vdsr
from watermark.hosts.weights import WeightsError, load_pretrained

__all__ = ["HOSTS", "Host", "WeightsError", "dncnn", "fold_batch_norm", "get_host", "load_pretrained", "red", "srdncnn",
           "vdsr"]


def srdncnn():
    """DnCNN trained for super-resolution; takes the image already brought to size, as VDSR does."""
    return dncnn(name="srdncnn")


@dataclass(frozen=True)
class Host:
    """What is particular to one host; tables loop over `HOSTS` and never ask for a name.

    Attributes:
      name: key in `HOSTS`.
      title: as the paper spells it.
      build: makes the untrained network, float32 [B, H, W, 1] -> [B, H, W, 1].
      task: key in `watermark.tasks.TASKS`.
      train_set, test_sets: names in `watermark.data`; the first test set is the one of the robustness tables.
      patch: side of a training patch in pixels.
      trigger: side of the trigger image in pixels.
      other_set: images of another kind, for fine-tuning on new data.
      parameters: trainable parameters in the form that the paper counts (with batch norm).
      scale: what the trigger is upsampled by.
      clip: bound on the gradient's global norm, or None.
      norms: whether the paper's network has batch norms.
    """

    name: str
    title: str
    build: Callable
    task: str
    train_set: str
    test_sets: tuple
    patch: int
    trigger: int
    parameters: int
    other_set: str
    scale: int = 1
    clip: float | None = None
    norms: bool = True


HOSTS = {
    host.name: host
    for host in (
        Host("dncnn", "DnCNN", dncnn, "denoise", "train400", ("set12", "bsd68"), 40, 40, 556_097, "kth_tips_train"),
        Host("red", "RED", red, "denoise", "train400", ("set12", "bsd68"), 40, 40, 408_064, "kth_tips_train"),
        Host("vdsr", "VDSR", vdsr, "sr", "291", ("set14", "set5"), 41, 20, 665_921, "urban100", scale=2, clip=0.4,
             norms=False),
        Host("srdncnn", "SR-DnCNN", srdncnn, "sr", "291", ("set14", "set5"), 41, 20, 556_097, "urban100", scale=2),
    )
}


def get_host(name):
    """The host of a name, or of the paper's spelling of it; a ValueError lists the choices."""
    name = {host.title.lower(): host.name for host in HOSTS.values()}.get(name.lower(), name)
    if name not in HOSTS:
        raise ValueError(f"unknown host {name!r}; choose from {', '.join(HOSTS)}")
    return HOSTS[name]
