"""Supplementary Fig. 2: what the visualizer shows after fine-tuning on original and on new data, a row a host.

Here an epoch is `Profile.epoch` steps, far fewer than the paper's 1,770. 10 minutes a host on 2 cores, seconds
once kept; it goes on where it stopped.

    python experiments/figS2_finetuning.py
"""

from watermark.hosts import get_host
from watermark.lab import figures, runner
from watermark.lab.profiles import FINAL_LEARNING_RATE

EPOCHS = (10, 25, 50)


def suspects(lab, host):
    """The marked model after each fine-tuning: on its own data, then on others."""
    return [lab.finetuned(host, 0, steps=epochs * lab.profile.epoch, learning_rate=FINAL_LEARNING_RATE,
                          train_set=train_set)
            for train_set in (None, get_host(host).other_set) for epochs in EPOCHS]


def main(lab):
    """Draws the figure figS2 for the hosts asked for, or else trained."""
    rows = figures.host_rows(lab, runner.FLAGS.hosts, suspects)
    titles = [f"{epochs} epochs,\n{name} data" for name in ("original", "new") for epochs in EPOCHS]
    figures.save(lab, "figS2", figures.panels(list(rows.values()), titles, list(rows)), figures.epochs_note(lab, rows))


if __name__ == "__main__":
    runner.run_main(main)
