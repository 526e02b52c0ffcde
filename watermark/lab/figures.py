"""How every figure looks and where it goes."""

import logging
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from watermark import inference, metrics, visualizer
from watermark.files import whole
from watermark.hosts import HOSTS, get_host
from watermark.lab.profiles import EPOCH

WIDTH = 7.2  # inches, two columns
LINE = 0.14  # inches, a line of words beside an image
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports every glyph
plt.style.use(Path(__file__).with_name("figures.mplstyle"))


def save(lab, name, figure, note=""):
    """Writes results/<profile>/figures/<name>.png and .pdf, and says so; `note` is printed small at the foot."""
    if note:
        figure.supxlabel(note, x=0.0, ha="left", fontsize=6.5, color="0.35", wrap=True)
    for suffix in ("png", "pdf"):
        path = Path(lab.workdir) / "results" / lab.profile.name / "figures" / f"{name}.{suffix}"
        write(path, figure)
        lab.say(str(path))


def write(path, figure):
    """Writes a figure to one file, whole or not at all; equal figures give equal files."""
    # The date and the version of the library would make them differ.
    metadata = {"CreationDate": None} if Path(path).suffix == ".pdf" else {"Software": None}
    with whole(path) as temporary:
        figure.savefig(temporary, metadata=metadata)
    plt.close(figure)


def panel(axis, image, title="", below="", limits=(0.0, 1.0)):
    """One image [H, W], [H, W, 1] or [H, W, 3] without axes, words above and below it, small ones if it is small."""
    image = np.asarray(image)
    axis.imshow(image[..., 0] if image.shape[2:] == (1,) else image, vmin=limits[0], vmax=limits[1])
    axis.set(xticks=[], yticks=[])
    small = axis.get_subplotspec().get_gridspec().ncols > 6
    axis.set_title(title, fontsize=6.5 if small else None)
    axis.set_xlabel(below, fontsize=6.5 if small else None)
    axis.spines[:].set(visible=True, linewidth=0.4, color="0.7")  # or a white image has no end


def panels(rows, titles=(), row_titles=(), limits=(0.0, 1.0), width=WIDTH):
    """A figure of images.

    Args:
      rows: lists of (image, words below it), or None for an empty place.
      titles: words above the columns.
      row_titles: words left of the rows.
      limits: intensities shown as black and white.
      width: in inches.
    """
    columns = max(map(len, rows))
    side, lines = width / columns, max(_lines(below) for row in rows for _, below in filter(None, row))
    height = len(rows) * (side + LINE * lines) + LINE * max(map(_lines, titles), default=0)
    figure, axes = plt.subplots(len(rows), columns, figsize=(width, height), squeeze=False)
    for i, (row, line) in enumerate(zip(rows, axes, strict=True)):
        for j, axis in enumerate(line):
            if j >= len(row) or row[j] is None:
                axis.axis("off")
                continue
            panel(axis, row[j][0], titles[j] if i == 0 and titles else "", row[j][1], limits)
        if row_titles:
            line[0].set_ylabel(row_titles[i])
    return figure


def marks_note(lab):
    """What the figures of marked hosts say at their foot."""
    embed = lab.profile.embed
    return (f"Profile {lab.profile.name}: a key a host, embedded in {embed.steps} steps of {embed.batch_size} patches "
            f"(paper: 8 epochs of {EPOCH} of 128).")


def epochs_note(lab, hosts):
    """What the figures of fine-tuning say at their foot about the length of an epoch and the data."""
    data = []
    for host in map(get_host, hosts):
        own, other = (lab.images(name, "train")[0] for name in (host.train_set, host.other_set))
        data.append(f"{host.name} {own} and {other}" + (" (paper: DIV2K)" if host.task == "sr" else ""))
    return (f"Profile {lab.profile.name}: an epoch is {lab.profile.epoch} steps of {lab.profile.embed.batch_size} "
            f"patches (paper: {EPOCH} of 128). Original and new data: {'; '.join(data)}.")


def _lines(words):
    return len(words.splitlines())


def answer(suspect, key):
    """What a suspect answers to a key's trigger image, [M, N, C]."""
    return inference.as_suspect(suspect, key.kind)(key.trigger[None])[0]


def called_up(R, picture, response):
    """(the copyright image that a response calls up in the visualizer R of `picture`, its PSNR in words)."""
    image = visualizer.show(R, response)
    return image, f"{metrics.psnr(image, visualizer.as_target(picture)):.2f} dB"


def host_rows(lab, hosts, suspects):
    """{host: [(the first copyright image as called up by a suspect, its PSNR in words)]}.

    Args:
      hosts: names, or None for those that are trained.
      suspects: (lab, host) -> models made of the marked model of trial 0.
    """
    picture, rows = next(iter(lab.copyright_images().values())), {}
    for host in hosts or [name for name in HOSTS if lab.has_host(name)]:
        (_, key), R = lab.marked(host, 0), lab.visualizer(host, 0, picture)
        rows[host] = [called_up(R, picture, answer(model, key)) for model in suspects(lab, host)]
    return rows


def copyright_rows(lab, answers):
    """Rows of `panels`, one a copyright image: the image itself, then what each answer calls up.

    Args:
      answers: pairs of the host whose visualizer is asked, that of trial 0, and a suspect's answer.
    """
    rows = []
    for picture in lab.copyright_images().values():
        visualizers = {owner: lab.visualizer(owner, 0, picture) for owner in dict.fromkeys(o for o, _ in answers)}
        rows.append([(visualizer.as_target(picture), "")]
                    + [called_up(visualizers[owner], picture, response) for owner, response in answers])
    return rows
