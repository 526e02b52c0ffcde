"""Supplementary Fig. 2: what the visualizer shows after fine-tuning on original and on new data, a row a host.

Here an epoch is `Profile.epoch` steps, far fewer than the paper's 1,770. Half an hour a host on 2 cores; it goes on
where it stopped.

    python experiments/figS2_finetuning.py
"""

from watermark import data
from watermark.hosts import HOSTS, get_host
from watermark.lab import figures, runner

EPOCHS = (10, 25, 50)
FINAL_LEARNING_RATE = 1e-4


def main(lab):
    """Draws the figure figS2 for the hosts asked for, or else trained."""
    logo = data.images("drawn")["logo.png"]
    hosts = runner.FLAGS.hosts or [name for name in HOSTS if lab.has_host(name)]
    rows = {}
    for host in hosts:
        _, key = lab.marked(host, 0)
        rows[host] = []
        for train_set in (None, get_host(host).other_set):
            for epochs in EPOCHS:
                tuned = lab.finetuned(host, 0, steps=epochs * lab.profile.epoch, learning_rate=FINAL_LEARNING_RATE,
                                      train_set=train_set)
                rows[host].append(figures.called_up(lab, host, 0, logo, figures.answer(tuned, key)))
    titles = [f"{epochs} epochs,\n{name} data" for name in ("original", "new") for epochs in EPOCHS]
    figures.save(lab, "figS2", figures.panels(list(rows.values()), titles, list(rows)))


if __name__ == "__main__":
    runner.run_main(main)
