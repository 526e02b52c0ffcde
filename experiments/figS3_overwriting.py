"""Supplementary Fig. 3: what the visualizer shows after one to five further keys have been embedded, a row a host.

Five embeddings a host, 25 to 50 minutes on 2 cores with AVX512-BF16; it goes on where it stopped.

    python experiments/figS3_overwriting.py
"""

from watermark.lab import figures, scripts

KEYS = (1, 2, 3, 4, 5)


def attacks(profile, mark):
    """One to five further keys."""
    return [profile.overwriting(mark, count) for count in KEYS]


def main(lab, options):
    """Draws the figure figS3 for the hosts asked for, or else trained."""
    rows = figures.host_rows(lab, options.hosts, attacks)
    titles = ["1 further key", *(f"{count} further keys" for count in KEYS[1:])]
    figures.save(lab, "figS3", figures.panels(list(rows.values()), titles, figures.host_titles(rows), width=6.0),
                 figures.marks_note(lab))


if __name__ == "__main__":
    scripts.run_main(main)
