"""Supplementary Fig. 1: what the visualizer shows after pruning at rising rates, a row a host.

A visualizer takes 4 to 7 minutes a host on 2 cores; the rest seconds.

    python experiments/figS1_pruning.py
"""

from watermark.lab import figures, scripts
from watermark.attacks import Prune

RATES = {
    "dncnn": (0.05, 0.15, 0.25, 0.30, 0.35, 0.40),
    "red": (0.02, 0.04, 0.06, 0.08, 0.10, 0.15),
    "srdncnn": (0.05, 0.15, 0.25, 0.30, 0.34, 0.35),
    "vdsr": (0.05, 0.15, 0.25, 0.30, 0.35, 0.40),
}


def attacks(profile, mark):
    """Pruning at each rate."""
    return [[Prune(rate)] for rate in RATES[mark.host]]


def main(lab, options):
    """Draws the figure figS1 for the hosts asked for, or else trained."""
    rows = figures.host_rows(lab, options.hosts, attacks)
    cells = [[(image, f"{rate:.0%} pruned\n{psnr}") for rate, (image, psnr) in zip(RATES[host], row, strict=True)]
             for host, row in rows.items()]
    figures.save(lab, "figS1", figures.panels(cells, row_titles=figures.host_titles(rows)), figures.marks_note(lab))


if __name__ == "__main__":
    scripts.run_main(main)
