"""Fig. 9: what the visualizer shows of a marked DnCNN after every attack, for two copyright images.

The paper's false key gives 7 to 8 dB, every attack but 40 % pruning 25 dB and more. Here an epoch is `Profile.epoch`
steps, far fewer than the paper's 1,770. About 30 minutes on 2 cores, most of it fine-tuning; it resumes.

    python experiments/fig9_robustness.py
"""

from watermark.attacks import prune
from watermark.hosts import get_host
from watermark.lab import figures, runner
from watermark.lab.profiles import FINAL_LEARNING_RATE

EPOCHS = (10, 50)
FALSE_KEY = 10_000  # a seed that no trial has


def suspects(lab, host):
    """{what was done: model}, in the paper's order (b) to (h)."""
    marked, _ = lab.marked(host, 0)
    found = {f"{rate:.0%} pruned": prune(marked, rate) for rate in (0.10, 0.40)}
    for name, train_set in (("original", None), ("new", get_host(host).other_set)):
        for epochs in EPOCHS:
            found[f"{epochs} epochs\non {name} data"] = lab.finetuned(
                host, 0, steps=epochs * lab.profile.epoch, learning_rate=FINAL_LEARNING_RATE, train_set=train_set)
    return found | {"overwritten": lab.overwritten(host, 0)}


def main(lab):
    """Draws the figure fig9 for the first host asked for."""
    host = (runner.FLAGS.hosts or ["dncnn"])[0]
    marked, key = lab.marked(host, 0)
    false = lab.key(host, FALSE_KEY)
    answers = {name: figures.answer(model, key) for name, model in suspects(lab, host).items()}
    answers["a false key"] = figures.answer(marked, false)
    rows = figures.copyright_rows(lab, [(host, answer) for answer in answers.values()])
    figures.save(lab, "fig9", figures.panels(rows, ["copyright image", *answers]))


if __name__ == "__main__":
    runner.run_main(main)
