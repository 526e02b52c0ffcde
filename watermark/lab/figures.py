"""Where figures go, and what those of the visualizer show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from watermark import metrics, visualizer
from watermark.blackbox import answer
from watermark.hosts import HOSTS, get_host
from watermark.lab.lab import Lab
from watermark.lab.runner import results
from watermark.pictures import STYLE, WIDTH, panel, panels, write
from watermark.recipes import EPOCH

__all__ = ["HARD", "WIDTH", "copyright_rows", "epochs_note", "grey_note", "host_rows", "host_titles", "marks_note",
           "panel", "panels", "save", "trained"]
HARD = "Adam at 10⁻⁴ (Table VII's rate hard)."  # how the figures of fine-tuning are tuned
plt.style.use(STYLE)


def save(lab: Lab, name: str, figure: Figure, note: str = "") -> None:
    """Writes results/<profile>/figures/<name>.png and .pdf, and says so; `note` is printed small at the foot."""
    if note:
        figure.supxlabel(note, x=0.0, ha="left", fontsize=7.5, color="0.25", wrap=True)
    for suffix in ("png", "pdf"):
        path = results(lab) / "figures" / f"{name}.{suffix}"
        write(path, figure)
        lab.log(str(path))
    plt.close(figure)


def grey_note(limits: tuple[float, float]) -> str:
    """What the figures of grey images say at their foot: which values are black and white."""
    low, high = (f"{value:g}".replace("-", "−") for value in limits)
    return f"Grey images: black is {low} and below, white {high} and above."


def marks_note(lab: Lab) -> str:
    """What the figures of marked hosts say at their foot."""
    recipe = lab.profile.mark("dncnn", 0).recipe
    return (f"Profile {lab.profile.name}: a key a host, embedded in {recipe.steps} steps of {recipe.batch_size} "
            f"patches (paper: 8 epochs, of Train400 {EPOCH} of 128, by its authors' code).")


def epochs_note(lab: Lab, hosts: Collection[str]) -> str:
    """What the figures of fine-tuning say at their foot about the length of an epoch and the data."""
    data = [f"{host.title} {lab.images.train_name(host.train_set)} and {lab.images.train_name(host.other_set)}"
            for host in map(get_host, hosts)]
    patches = lab.profile.mark(next(iter(hosts)), 0).recipe.batch_size
    return (f"Profile {lab.profile.name}: an epoch is {lab.profile.epoch} steps of {patches} patches (paper: of "
            f"Train400 {EPOCH} of 128, by its authors' code). Original and new data: {'; '.join(data)}. The paper's "
            "new data are KTH-TIPS and DIV2K.")


def host_titles(hosts: Iterable[str]) -> list[str]:
    """Hosts as the paper spells them."""
    return [get_host(name).title for name in hosts]


def _called_up(R, picture, response):
    """(the copyright image that a response calls up in the visualizer R of `picture`, its PSNR in words)."""
    image = visualizer.show(R, response)
    return image, f"{metrics.psnr(image, visualizer.as_target(picture)):.2f} dB"


def trained(lab: Lab) -> list[str]:
    """The hosts that are there; a ValueError where there is none."""
    if there := [name for name in HOSTS if lab.has(lab.resolve(lab.profile.host(name)))]:
        return there
    raise ValueError(f"no host of the profile {lab.profile.name} in {lab.workdir}: expected a trained one; "
                     "experiments/train_hosts.py trains them, --workdir=. has those that the project ships")


def host_rows(lab: Lab, hosts: Sequence[str] | None, attacks: Callable) -> dict[str, list[tuple]]:
    """{host: [(the first copyright image as called up by a suspect, its PSNR in words)]}.

    Args:
      hosts: names, or None for those that are trained.
      attacks: (profile, mark) -> lists of attacks on the marked model of trial 0, a suspect each.
    """
    picture, rows = next(iter(lab.images.copyright().values())), {}
    for host in hosts or trained(lab):
        mark = lab.profile.mark(host, 0)
        key, R = lab.key(mark), lab.visualizer(mark, picture)
        rows[host] = [_called_up(R, picture, answer(lab.get(mark.under(*steps)), key))
                      for steps in attacks(lab.profile, mark)]
    return rows


def copyright_rows(lab: Lab, answers: Sequence[tuple[str, np.ndarray]]) -> list[list[tuple]]:
    """Rows of `panels`, one a copyright image: the image itself, then what each answer calls up.

    Args:
      answers: pairs of the host whose visualizer is asked, that of trial 0, and a suspect's answer.
    """
    rows = []
    for picture in lab.images.copyright().values():
        visualizers = {owner: lab.visualizer(lab.profile.mark(owner, 0), picture)
                       for owner in dict.fromkeys(owner for owner, _ in answers)}
        rows.append([(visualizer.as_target(picture), "")]
                    + [_called_up(visualizers[owner], picture, response) for owner, response in answers])
    return rows
