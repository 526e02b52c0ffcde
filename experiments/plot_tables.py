"""The tables as curves: what attacks leave, what larger keys and a larger λ cost, how near strangers' keys come.

Lines with bars are the records' means and standard deviations, rings the paper's numbers. Drawn from the records there
are, those that ship too; nothing is made, and what is missing is said. Half a minute.

    python experiments/plot_tables.py
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import table1_fidelity_denoising as table1
import table4_uniqueness_unmarked as table4
import table5_uniqueness_marked as table5
import table6_pruning as table6
import table7_finetuning as table7
import table9_multiple_overwriting as table9
import table10_capacity_denoising as table10
import table11_capacity_sr as table11
import table12_capacity_schemes as table12
from scipy import stats

from watermark.lab import figures, scripts
from watermark import metrics
from watermark.hosts import HOSTS, get_host
from watermark.lab.runner import Options, Trials
from watermark.schemes import MODULES, OURS
from watermark.verification import FAITHFUL, NCC_THRESHOLD

AXES = {"distance": ("d (10⁻³)", 1e3), "ncc": ("NCC", 1.0), "psnr": ("PSNR (dB)", 1.0)}  # value: (words, scale)
READING = "Lines: our records, with standard deviations; outlines: the paper's numbers."
COLORS, SHAPES = 7, ((".", "o"), ("^", "^"), ("s", "s"))  # of lines, then the next shape, ours and the paper's
LETTERS = 140  # of a legend's row
STRANGERS = {"unmarked": table4.TABLE, "marked": table5.TABLE}


@dataclass(frozen=True)
class Plot:
    """A figure of one or more tables' records: a row of panels a value, a column a host, lines by the other axes.

    Attributes:
      name: of its file.
      tables: whose records it shows.
      x: the axis of their rows that lies below.
      words: what is written there.
      values: names of what is shown, keys of `AXES`.
      own: of these values, lines of our scheme alone: by others they decide nothing.
      even: whether the points are evenly spaced, as λ that falls by tens to 0 must be.
      takes: whether a mark that is too weak for a claim has not taken, so that its point is a cross beside the line.
      foot: (lab, hosts) -> what stands at the foot, before how to read it.
    """

    name: str
    tables: tuple
    x: str
    words: str
    values: tuple = ("psnr",)
    own: tuple = ("distance",)
    even: bool = False
    takes: bool = False
    foot: Callable = lambda lab, hosts: figures.marks_note(lab)


def _finetuned(lab, hosts):
    return (f"{figures.epochs_note(lab, hosts)} Rate paper moves our folded networks about as far as 10⁻⁴ "
            "moves those with batch norms, hard is 10⁻⁴ here too.")


def _sized(lab, hosts):
    return (f"{figures.marks_note(lab)} Keys of more than {lab.profile.large} pixels a side are embedded in fewer "
            f"steps, as their sides are longer. Crosses: marks that have not taken, ρ < {FAITHFUL:g}.")


PLOTS = (
    Plot("pruning", (table6.TABLE,), "rate", "share pruned", ("distance", "ncc", "psnr")),
    Plot("finetuning", (table7.TABLE,), "epochs", "epochs of fine-tuning", ("distance", "ncc", "psnr"),
         foot=_finetuned),
    Plot("overwriting", (table9.TABLE,), "keys", "further keys", ("distance", "ncc", "psnr")),
    Plot("capacity", (table10.TABLE, table11.TABLE), "size", "side of S (pixels)", takes=True, foot=_sized),
    Plot("capacity_schemes", (table12.TABLE,), "size", "side of S (pixels)", takes=True, foot=_sized),
    Plot("fidelity", (table1.TABLE,), "lam", "λ, 0: unmarked", even=True),
)


def main(lab, options):
    """Draws every figure that there is a record for, and says what is missing."""
    hosts = options.hosts or list(HOSTS)
    everything = Options(hosts=hosts, schemes=list(MODULES), reuse=True)
    for plot in PLOTS:
        rows = [(row, found, table.paper.find(row)) for table in plot.tables for row, found in _records(
            lab, table, everything)]
        if any(found for _, found, _ in rows):
            figures.save(lab, plot.name, drawn(plot, rows, _eta(lab, hosts[0])), f"{plot.foot(lab, hosts)} {READING}")
    records = {name: _records(lab, table, everything) for name, table in STRANGERS.items()}
    if any(found for rows in records.values() for _, found in rows):
        figures.save(lab, "strangers", strangers(records, _eta(lab, hosts[0])),
                     "Normal curves of our records' mean and deviation; ticks: our least; rings: the paper's.")


def _records(lab, table, options):
    """[(row, values of its trials)], and a line on the rows that have none."""
    rows = Trials(lab, table, options).pairs()
    missing = sum(not found for _, found in rows)
    if missing:
        lab.log(f"NOTE: {table.name}: no record yet of {missing} of {len(rows)} rows")
    return rows


def _eta(lab, host):
    return metrics.threshold(int(np.prod(lab.profile.kind(lab.profile.mark(host, 0)).answer_shape)))


def drawn(plot, rows, eta):
    """The figure of a plot; `rows`: (row, values of its trials, the paper's values)."""
    hosts = list(dict.fromkeys(row["host"] for row, _, _ in rows))
    groups = _groups(plot, rows)
    thresholds = {"distance": (eta, "η"), "ncc": (NCC_THRESHOLD, f"{NCC_THRESHOLD:g}")}
    figure, axes = plt.subplots(len(plot.values), len(hosts), squeeze=False, sharex="col",
                                figsize=(figures.WIDTH, 0.6 + 1.7 * len(plot.values)))
    for (i, value), (j, host) in itertools.product(enumerate(plot.values), enumerate(hosts)):
        axis, (words, scale) = axes[i, j], AXES[value]
        for number, (name, group) in enumerate(groups.items()):
            shown = [entry for entry in group if entry[0]["host"] == host and (
                value not in plot.own or entry[0].get("scheme", OURS) == OURS)]
            _line(axis, shown, plot, value,
                  {"color": f"C{number % COLORS}", "label": name}, SHAPES[number // COLORS % len(SHAPES)])
        if value in thresholds:
            bound, name = thresholds[value]
            axis.axhline(bound * scale, color="0.4", ls="--", lw=0.9)
            axis.annotate(name, (1.0, bound * scale), xycoords=("axes fraction", "data"), va="center", fontsize=7)
        if not any(found for row, found, _ in rows if row["host"] == host):
            axis.annotate("no record yet", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.5")
        axis.set(title=get_host(host).title if i == 0 else "", ylabel=words if j == 0 else "",
                 xlabel=plot.words if i + 1 == len(plot.values) else "")
        if plot.even:
            places = _places(plot, rows)
            axis.set_xticks(list(places.values()), [f"{x:g}" for x in places])
    handles = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(),
                                                                            strict=True) if label}
    if handles:
        columns = max(1, LETTERS // (4 + max(map(len, handles))))
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(len(handles), columns))
    return figure


def _groups(plot, rows):
    """{label: entries of a line}, by the axes beside host and `x`; a label has what differs between lines."""
    def others(row):
        return {name: value for name, value in row.items() if name not in ("host", plot.x)}

    shown = [others(row) for row, found, _ in rows if found]
    several = {name for one in shown for name, value in one.items() if any(o.get(name, value) != value for o in shown)}
    groups = {}
    for entry in rows:
        if others(entry[0]) in shown:
            label = ", ".join(_words(name, value) for name, value in others(entry[0]).items() if name in several)
            groups.setdefault(label, []).append(entry)
    return groups


def _words(name, value):
    return f"{name} {value}".replace("_", " ")


def _places(plot, rows):
    """{x: where it lies}."""
    values = sorted({row[plot.x] for row, _, _ in rows})
    return {x: i if plot.even else x for i, x in enumerate(values)}


def _line(axis, entries, plot, value, look, shapes):
    """Ours as a line with bars, and the paper's outlines; entries without the value leave a gap."""
    places, scale = _places(plot, entries), AXES[value][1]
    ours = [(places[row[plot.x]], [scale * trial[value] for trial in found if value in trial])
            for row, found, _ in entries]
    ours = [(x, np.mean(many), np.std(many, ddof=1) if len(many) > 1 else 0.0) for x, many in ours if many]
    weak = {places[row[plot.x]] for row, found, _ in entries if plot.takes and any(
        trial.get("rho", 1.0) < FAITHFUL for trial in found)}
    if crossed := [(x, mean) for x, mean, _ in ours if x in weak]:
        axis.plot(*zip(*crossed, strict=True), "x", ms=5, color=look["color"])
    ours = [point for point in ours if point[0] not in weak]
    theirs = [(places[row[plot.x]], scale * paper[value]) for row, _, paper in entries if value in paper]
    if ours:
        axis.errorbar(*zip(*ours, strict=True), marker=shapes[0], ms=5, capsize=2, **look)
    if theirs:
        axis.plot(*zip(*theirs, strict=True), shapes[1], ms=5, mfc="none", color=look["color"])


def strangers(records, eta):
    """Distances of fresh keys on each host, of the most keys that there is a record for."""
    hosts = list(dict.fromkeys(row["host"] for rows in records.values() for row, _ in rows))
    figure, axes = plt.subplots(1, len(hosts), squeeze=False, sharey=True, figsize=(figures.WIDTH, 2.0))
    for axis, host in zip(axes[0], hosts, strict=True):
        for color, (name, rows) in enumerate(records.items()):
            most = max((entry for entry in rows if entry[0]["host"] == host),
                       key=lambda entry: (bool(entry[1]), entry[0]["keys"]))
            _distribution(axis, most, STRANGERS[name].paper, {"color": f"C{color}", "label": name})
        axis.axvline(1e3 * eta, color="0.4", ls="--", lw=0.9, label="η")
        axis.set(title=get_host(host).title, xlabel="d (10⁻³)", yticks=[], ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _distribution(axis, entry, paper, look):
    row, found = entry
    for trial in found:
        mean, sd, least = (1e3 * trial[name] for name in ("mean", "sd", "distance"))
        x = np.linspace(mean - 4 * sd, mean + 4 * sd, 200)
        y = stats.norm.pdf(x, mean, sd)
        axis.fill_between(x, y, alpha=0.3, lw=0, **look)
        axis.plot([least, least], [0, 0.2 * y.max()], color=look["color"])
    if printed := paper.find(row):
        axis.plot(1e3 * printed["distance"], 0.05, "o", ms=5, mfc="none", color=look["color"], clip_on=False)


if __name__ == "__main__":
    scripts.run_main(main, takes=["hosts", "trials", "first_seed"])
