"""The hosts' layers, drawn from the code, and the course of their training. Under a minute.

    python experiments/picture_hosts.py
"""

import json
from pathlib import Path

import keras
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle

from watermark.lab import figures, runner, scripts
from watermark.hosts import HOSTS
from watermark.lab.cache import LONGER

COLOURS = {"Conv2D": "#0072B2", "Conv2DTranspose": "#009E73", "BatchNormalization": "#E69F00", "ReLU": "#BBBBBB"}
NAMES = {"Conv2D": "convolution 3×3", "Conv2DTranspose": "transposed convolution 3×3",
         "BatchNormalization": "batch norm", "ReLU": "ReLU"}


def _sources(layer):
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation for tensor in tensors]


def _draw(axis, host):
    """One host, left to right: a bar a layer, an arc a skip."""
    model, at, end = host.build(), {}, -1
    for layer in model.layers:
        kind = type(layer).__name__
        activated = kind != "ReLU" and getattr(layer, "activation", None) is keras.activations.relu
        for bar in [kind, "ReLU"] if activated else [kind]:
            end += 1
            if colour := COLOURS.get(bar):
                axis.add_patch(Rectangle((end - 0.4, -0.5), 0.8, 1.0, color=colour, lw=0))
        at[layer] = end
        if kind in COLOURS:
            continue
        if isinstance(layer, keras.layers.InputLayer):
            axis.text(at[layer], 0, "x", ha="center", va="center", fontsize=8)
        else:
            axis.text(at[layer], 0, "−" if "subtract" in layer.name else "+", ha="center", va="center", fontsize=9)
            for source in _sources(layer):
                if at[layer] - at[source] > 1:
                    axis.add_patch(FancyArrowPatch((at[source], 0.5), (at[layer], 0.45), arrowstyle="->", lw=0.6,
                                                   connectionstyle="arc3,rad=-0.13", mutation_scale=5, color="#555555"))
    axis.set(xlim=(-1, 52), ylim=(-0.7, 3.1), title=f"{host.title}: {host.parameters:,} parameters")
    axis.title.set(ha="left", x=0.0)
    axis.axis("off")


def architectures():
    """A figure with one line for each of `HOSTS`."""
    figure, axes = plt.subplots(len(HOSTS), 1, figsize=(figures.WIDTH, 4.2))
    for axis, host in zip(axes, HOSTS.values(), strict=True):
        _draw(axis, host)
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in NAMES]
    figure.legend(handles, NAMES.values(), loc="outside lower center", ncols=4)
    return figure


TITLES = {"denoise": "denoising, small images of Set12", "sr": "super-resolution ×2, ×3, ×4, small images of Set14"}


def courses(folder):
    """A figure of validation PSNR against steps, for each host that has a record in `folder`."""
    found = {(host, words): path for host in HOSTS.values() for words in ((), (LONGER,))
             if (path := Path(folder) / f"{'-'.join((host.name, *words))}.json").exists()}
    tasks = list(dict.fromkeys(host.task for host, _ in found)) or ["denoise"]
    figure, axes = plt.subplots(1, len(tasks), figsize=(3.6 * len(tasks), 2.6), squeeze=False)
    for task, axis in zip(tasks, axes[0], strict=True):
        for (host, words), path in found.items():
            if host.task == task:
                axis.plot(*zip(*json.loads(path.read_text()), strict=True), label=", ".join((host.title, *words)))
                axis.legend()
        axis.set(xlabel="training step", ylabel="PSNR (dB)", title=TITLES[task])
    return figure


def main(lab, options):
    """Draws the figures hosts and training."""
    figures.save(lab, "hosts", architectures())
    figures.save(lab, "training", courses(runner.RESULTS / lab.profile.name / "training"))


if __name__ == "__main__":
    scripts.run_main(main, takes=[])
