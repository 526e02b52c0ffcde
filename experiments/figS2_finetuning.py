"""Supplementary Fig. 2: what the visualizer shows after fine-tuning on original and on new data, a row a host.

Here an epoch is `Profile.epoch` steps, far fewer than the 1,770 of the authors' code. 10 minutes a host on 2 cores,
seconds once kept; it goes on where it stopped.

    python experiments/figS2_finetuning.py
"""

from watermark.lab import figures, scripts

EPOCHS = (10, 25, 50)


def attacks(profile, mark):
    """Each fine-tuning: on the mark's own data, then on others."""
    return [[profile.finetuning(mark, epochs, new)] for new in (False, True) for epochs in EPOCHS]


def main(lab, options):
    """Draws the figure figS2 for the hosts asked for, or else trained."""
    rows = figures.host_rows(lab, options.hosts, attacks)
    titles = [f"{epochs} epochs,\n{name} data" for name in ("original", "new") for epochs in EPOCHS]
    drawn = figures.panels(list(rows.values()), titles, figures.host_titles(rows))
    figures.save(lab, "figS2", drawn, f"{figures.epochs_note(lab, rows)} {figures.HARD}")


if __name__ == "__main__":
    scripts.run_main(main)
