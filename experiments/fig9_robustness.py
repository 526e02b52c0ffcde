"""Fig. 9: what the visualizer shows of a marked DnCNN after every attack, for two copyright images.

The paper's numbers stand under ours; they are of its own two copyright images, which `--pictures=copyright` takes (a
folder of yours works too). Here an epoch is `Profile.epoch` steps, far fewer than the paper's 1,770. About 25 minutes
on 2 cores, half a minute once the attacked models and the visualizers are kept; it resumes.

    python experiments/fig9_robustness.py
"""

from watermark.attacks import prune
from watermark.hosts import get_host
from watermark.lab import figures, runner
from watermark.lab.profiles import FINAL_LEARNING_RATE

EPOCHS = (10, 50)
FALSE_KEY = 10_000  # a seed that no trial has
PAPER = (  # dB, Fig. 9 (b) to (i): logo, sign
    ["54.58", "20.81", "41.81", "41.10", "44.65", "36.65", "27.68", "9.34"],
    ["35.53", "17.30", "32.72", "33.37", "34.04", "29.64", "25.26", "7.65"],
)


def suspects(lab, host):
    """{what was done: model}, in the paper's order (b) to (h)."""
    marked, _ = lab.marked(host, 0)
    found = {f"{rate:.0%} pruned": prune(marked, rate) for rate in (0.10, 0.40)}
    for name, train_set in (("original", None), ("new", get_host(host).other_set)):
        for epochs in EPOCHS:
            found[f"{epochs} epochs,\n{name}\ndata"] = lab.finetuned(
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
    if host == "dncnn" and lab.pictures in ("drawn", "copyright"):
        rows = [[first, *((image, f"{psnr}\npaper {theirs}") for (image, psnr), theirs in zip(rest, line, strict=True))]
                for (first, *rest), line in zip(rows, PAPER, strict=True)]
    figures.save(lab, "fig9", figures.panels(rows, ["copyright\nimage", *answers]), figures.epochs_note(lab, [host]))


if __name__ == "__main__":
    runner.run_main(main)
