"""Beyond the paper: what each attack leaves of the evidence, and where the paper's threshold stops finding the mark.

Draws the records of evidence_detection.py; where there are none yet, they are made first, which takes minutes.

    python experiments/fig_detection.py --trials=1
"""

import dataclasses

import evidence_detection
import matplotlib.pyplot as plt
import numpy as np

from watermark.lab import figures, runner, scripts
from watermark.evidence import z_needed
from watermark.hosts import get_host

NAMES = {"none": "as embedded", "pruned": "{} % pruned", "fine-tuned": "fine-tuned, {} epochs",
         "fine-tuned, new data": "{} epochs, new data", "overwritten": "overwritten, keys: {}"}


def main(lab, options):
    """Draws the figure detection for the hosts whose records are there."""
    records = runner.records(lab, evidence_detection.TABLE, dataclasses.replace(options, reuse=True))
    hosts = list(dict.fromkeys(row["host"] for row, _ in records))
    limits = span([values["z_score"] for _, found in records for values in found])
    figure, axes = plt.subplots(1, len(hosts), figsize=(figures.WIDTH, 2.8), sharey=True, squeeze=False)
    for axis, host in zip(axes[0], hosts, strict=True):
        rows = [(row, found) for row, found in records if row["host"] == host]
        for y, (_, found) in enumerate(rows):
            for values in found:
                axis.plot(values["z_score"], y, "o", color="C0", ms=5,
                          mfc="C0" if values["verified"] else "none")
        axis.axvline(z_needed(lab.profile.null_keys), color="C6", ls="--", lw=0.9)
        axis.set(title=get_host(host).title, xlabel="z of ρ", xlim=limits, yticks=np.arange(len(rows)),
                 yticklabels=[_words(row) for row, _ in rows])
    axes[0, 0].invert_yaxis()  # they share it
    figure.suptitle("filled: accepted by d ≤ η; right of the dashed line: found by the evidence", fontsize=8)
    figures.save(lab, "detection", figure)


def span(scores):
    """Ends of a linear axis with 0 and every z-score on it, none at the edge: a lost mark's may well be below 0."""
    low, high = min(0.0, *scores), max(0.0, *scores)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _words(row):
    return NAMES[row["attack"]].format(row["strength"])


if __name__ == "__main__":
    scripts.run_main(main, tables=[evidence_detection.TABLE])
