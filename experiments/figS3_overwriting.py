"""Supplementary Fig. 3: what the visualizer shows after one to five further keys have been embedded, a row a host.

Five embeddings a host, 15 to 30 minutes on 2 cores; it goes on where it stopped.

    python experiments/figS3_overwriting.py
"""

from watermark import data
from watermark.hosts import HOSTS
from watermark.lab import figures, runner

KEYS = (1, 2, 3, 4, 5)


def main(lab):
    """Draws the figure figS3 for the hosts asked for, or else trained."""
    logo = data.images("drawn")["logo.png"]
    hosts = runner.FLAGS.hosts or [name for name in HOSTS if lab.has_host(name)]
    rows = {}
    for host in hosts:
        _, key = lab.marked(host, 0)
        rows[host] = [figures.called_up(lab, host, 0, logo, figures.answer(lab.overwritten(host, 0, keys=count), key))
                      for count in KEYS]
    titles = ["1 further key", *(f"{count} further keys" for count in KEYS[1:])]
    figures.save(lab, "figS3", figures.panels(list(rows.values()), titles, list(rows), width=6.0))


if __name__ == "__main__":
    runner.run_main(main)
