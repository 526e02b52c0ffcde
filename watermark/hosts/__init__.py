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
      build: makes the untrained network, float32 [B, H, W, 1] -> [B, H, W, 1].
      task: key in `watermark.tasks.TASKS`.
      train_set, test_sets: names in `watermark.data`; the first test set is the one of the robustness tables.
      patch: side of a training patch in pixels.
      trigger: side of the trigger image in pixels.
      other_set: images of another kind, for fine-tuning on new data.
      parameters: trainable parameters in the form that the paper counts (DnCNN: batch norm folded).
      clip: bound on the gradient's global norm, or None.
    """

    name: str
    build: Callable
    task: str
    train_set: str
    test_sets: tuple
    patch: int
    trigger: int
    parameters: int
    other_set: str
    clip: float | None = None


HOSTS = {
    host.name: host
    for host in (
        Host("dncnn", dncnn, "denoise", "train400", ("set12", "bsd68"), 40, 40, 555_137, "kth_tips_train"),
        Host("red", red, "denoise", "train400", ("set12", "bsd68"), 40, 40, 408_064, "kth_tips_train"),
        Host("vdsr", vdsr, "sr", "291", ("set14", "set5"), 41, 20, 665_921, "urban100", clip=0.4),
        Host("srdncnn", srdncnn, "sr", "291", ("set14", "set5"), 41, 20, 555_137, "urban100"),
    )
}


def get_host(name):
    """`HOSTS[name]`, or a ValueError that lists the choices."""
    if name not in HOSTS:
        raise ValueError(f"unknown host {name!r}; choose from {', '.join(HOSTS)}")
    return HOSTS[name]
