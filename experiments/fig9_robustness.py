"""Fig. 9: what the visualizer shows of a marked DnCNN after every attack, for two copyright images.

The paper's numbers stand under ours; they are of its own two copyright images, which `--pictures=copyright` takes (a
folder of yours works too). Here an epoch is `Profile.epoch` steps, far fewer than the 1,770 of its authors' code. About
25 minutes on 2 cores, half a minute once the attacked models and the visualizers are kept; it resumes.

    python experiments/fig9_robustness.py
"""

from pathlib import Path

from watermark.lab import figures, scripts
from watermark import blackbox
from watermark.attacks import Prune
from watermark.lab.paper import paper

EPOCHS = (10, 50)
FALSE_KEY = 10_000  # a seed that no trial has
PAPER = paper("fig9_robustness")


def attacks(profile, mark):
    """{what was done: attacks}, in the paper's order (b) to (h), with the axes of the paper's numbers."""
    found = {f"{rate:.0%} pruned": ([Prune(rate)], {"attack": "prune", "rate": rate}) for rate in (0.10, 0.40)}
    for new, name in ((False, "original"), (True, "new")):
        for epochs in EPOCHS:
            axes = {"attack": "finetune", "data": name, "epochs": epochs}
            found[f"{epochs} epochs,\n{name}\ndata"] = [profile.finetuning(mark, epochs, new)], axes
    return found | {"overwritten": (profile.overwriting(mark, 1), {"attack": "overwrite"})}


def main(lab, options):
    """Draws the figure fig9 for the first host asked for."""
    host = scripts.one_host(options)
    mark = lab.profile.mark(host, 0)
    key, made = lab.key(mark), attacks(lab.profile, mark)
    answers = {name: blackbox.answer(lab.get(mark.under(*steps)), key) for name, (steps, _) in made.items()}
    answers["a false key"] = blackbox.answer(lab.get(mark), lab.initial_key(lab.profile.mark(host, FALSE_KEY)))
    axes = [*(axes for _, axes in made.values()), {"attack": "false_key"}]
    rows = figures.copyright_rows(lab, [(host, answer) for answer in answers.values()])
    rows = [[first, *(_beside(cell, {"host": host, "picture": Path(name).stem, **at})
                      for cell, at in zip(cells, axes, strict=True))]
            for name, (first, *cells) in zip(lab.images.copyright(), rows, strict=True)]
    figures.save(lab, "fig9", figures.panels(rows, ["copyright\nimage", *answers]),
                 f"{figures.epochs_note(lab, [host])} {figures.HARD}")


def _beside(cell, axes):
    """The paper's number under ours, for the two copyright images that take the places of the paper's."""
    image, words = cell
    printed = PAPER.find(axes)
    return (image, f"{words}\npaper {printed['psnr']:.2f}") if printed else cell


if __name__ == "__main__":
    scripts.run_main(main)
