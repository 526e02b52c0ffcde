"""Beyond the paper: what each attack leaves of the evidence, and where the paper's threshold stops finding the mark.

Draws the records of evidence_detection.py; where there are none yet, they are made first, which takes minutes.

    python experiments/fig_detection.py --trials=1
"""

import evidence_detection
import matplotlib.pyplot as plt
import numpy as np

from watermark.lab import figures, runner
from watermark.verification import z_needed

NAMES = {"none": "as embedded", "pruned": "{} % pruned", "fine-tuned": "fine-tuned, {} steps",
         evidence_detection.NEW: "{} steps, new data", "overwritten": "overwritten, keys: {}"}


def main(lab):
    """Draws the figure detection for the hosts whose records are there."""
    records = runner.records(lab, evidence_detection.TABLE, hosts=runner.FLAGS.hosts)
    hosts = list(dict.fromkeys(row["host"] for row, _ in records))
    figure, axes = plt.subplots(1, len(hosts), figsize=(figures.WIDTH, 2.8), sharey=True, squeeze=False)
    for axis, host in zip(axes[0], hosts, strict=True):
        rows = [(row, found) for row, found in records if row["host"] == host]
        for y, (_, found) in enumerate(rows):
            for values in found:
                axis.plot(max(values["z_score"], 1.1), y, "o", color="C0", ms=5,
                          mfc="C0" if values["verified"] else "none")
        axis.axvline(z_needed(lab.profile.null_keys), color="C6", ls="--", lw=0.9)
        axis.set(title=host, xscale="log", xlim=(1, 60), xticks=[1, 3, 10, 30], xticklabels=["1", "3", "10", "30"],
                 xlabel="z of ρ", yticks=np.arange(len(rows)), yticklabels=[_words(lab, row) for row, _ in rows])
        axis.invert_yaxis() if axis is axes[0, 0] else None
    figure.suptitle("filled: accepted by d ≤ η; right of the dashed line: found by the evidence", fontsize=8)
    figures.save(lab, "detection", figure)


def _words(lab, row):
    strength = row["strength"] * (lab.profile.epoch if "fine-tuned" in row["attack"] else 1)
    return NAMES[row["attack"]].format(strength)


if __name__ == "__main__":
    runner.run_main(main)
