"""Supplementary Fig. 1: what the visualizer shows after pruning at rising rates, a row a host.

A visualizer takes 5 minutes a host on 2 cores; the rest seconds.

    python experiments/figS1_pruning.py
"""

from watermark import data
from watermark.attacks import prune
from watermark.lab import figures, runner

RATES = {
    "dncnn": (0.05, 0.15, 0.25, 0.30, 0.35, 0.40),
    "red": (0.02, 0.04, 0.06, 0.08, 0.10, 0.15),
    "srdncnn": (0.05, 0.15, 0.25, 0.30, 0.34, 0.35),
    "vdsr": (0.05, 0.15, 0.25, 0.30, 0.35, 0.40),
}


def main(lab):
    """Draws the figure figS1 for the hosts that are trained."""
    logo = data.images("drawn")["logo.png"]
    rows = {}
    for host in (name for name in RATES if lab.has_host(name)):
        marked, key = lab.marked(host, 0)
        rows[host] = []
        for rate in RATES[host]:
            image, psnr = figures.called_up(lab, host, 0, logo, figures.answer(prune(marked, rate), key))
            rows[host].append((image, f"{rate:.0%} pruned\n{psnr}"))
    figures.save(lab, "figS1", figures.panels(list(rows.values()), row_titles=list(rows)))


if __name__ == "__main__":
    runner.run_main(main)
