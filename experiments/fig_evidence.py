"""Beyond the paper: where the own key stands among a thousand fresh ones, by distance and by correlation.

On the marked model the own key stands apart in both; on the unmarked one it is a key like any other. Half a minute.

    python experiments/fig_evidence.py
"""

import matplotlib.pyplot as plt
import numpy as np

from watermark.lab import figures, scripts
from watermark import blackbox, metrics
from watermark.evidence import residual_correlation
from watermark.hosts import get_host
from watermark.keys import random_keys


def _numbers(suspect, triggers, wanted, initials, kind):
    """(d in 10⁻³, rho) of each key; `wanted` is what d compares with."""
    answers = blackbox.as_suspect(suspect, kind)(triggers)
    d = [1e3 * metrics.distance(answer, S) for answer, S in zip(answers, wanted, strict=True)]
    return np.array(d), residual_correlation(triggers, answers, initials, kind)


def main(lab, options):
    """Draws the figure evidence for the first host asked for."""
    host = scripts.one_host(options)
    mark = lab.profile.mark(host, 0)
    marked, key = lab.get(mark), lab.key(mark)
    triggers, initials = random_keys(key.kind, lab.profile.null_keys, label="evidence")
    eta = 1e3 * metrics.threshold(key.verification.size)
    figure, axes = plt.subplots(2, 2, figsize=(figures.WIDTH, 3.6), sharex="col")
    for row, (name, suspect) in zip(axes, (("marked", marked), ("unmarked", lab.get(mark.parent))), strict=True):
        others = _numbers(suspect, triggers, initials, initials, key.kind)
        own = _numbers(suspect, key.trigger[None], key.verification[None], key.initial[None], key.kind)
        for axis, many, one in zip(row, others, own, strict=True):
            axis.hist(many, bins=40, color="C5", label=f"{len(many)} fresh keys")
            axis.axvline(one[0], color="C1", label="own key")
            axis.set(yticks=[])
            axis.spines["left"].set_visible(False)
        row[0].axvline(eta, color="C6", ls="--", lw=0.9, label=f"η = {eta:.2f}·10⁻³")
        row[0].set_ylabel(f"{name} {get_host(host).title}")
    axes[1, 0].set(xlabel="distance d (10⁻³)", xlim=(-0.2, None))
    axes[1, 1].set(xlabel="correlation of residuals ρ", xlim=(None, 1.02))
    axes[1, 0].legend(loc="upper left")
    figures.save(lab, "evidence", figure)


if __name__ == "__main__":
    scripts.run_main(main)
