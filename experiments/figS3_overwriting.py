"""Supplementary Fig. 3: what the visualizer shows after one to five further keys have been embedded, a row a host.

Five embeddings a host, 15 to 30 minutes on 2 cores; it goes on where it stopped.

    python experiments/figS3_overwriting.py
"""

from watermark.lab import figures, runner

KEYS = (1, 2, 3, 4, 5)


def suspects(lab, host):
    """The marked model after each further key."""
    return [lab.overwritten(host, 0, keys=count) for count in KEYS]


def main(lab):
    """Draws the figure figS3 for the hosts asked for, or else trained."""
    rows = figures.host_rows(lab, runner.FLAGS.hosts, suspects)
    titles = ["1 further key", *(f"{count} further keys" for count in KEYS[1:])]
    figures.save(lab, "figS3", figures.panels(list(rows.values()), titles, list(rows), width=6.0),
                 figures.marks_note(lab))


if __name__ == "__main__":
    runner.run_main(main)
