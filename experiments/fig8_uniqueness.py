"""Fig. 8: what the visualizers show to others: unmarked hosts with random triggers, marked ones with foreign keys.

In the paper nothing is recognisable. A first column a host is a positive control, which the paper's figure lacks: the
own key on the own marked model calls up the copyright image in the very visualizer that shows nothing to others. The
paper's caption gives (f) and (g) twice; (h) and (i) are taken to be the other way round. Hosts that are not trained are
left out. A visualizer takes 4 to 7 minutes on 2 cores, each of the others' seconds.

    python experiments/fig8_uniqueness.py
"""

from watermark.lab import figures, scripts
from watermark import blackbox
from watermark.hosts import get_host

OWNERS = ("dncnn", "red", "srdncnn", "vdsr")
FOREIGN = (("dncnn", "red"), ("srdncnn", "vdsr"), ("red", "dncnn"), ("vdsr", "srdncnn"))  # whose key, whose model
OTHER = 1  # the trial whose marks are the foreign ones: in trial 0 all denoisers have the same key
RANDOM = 10_000  # a seed that no trial has


def title(name):
    """A host as the paper spells it."""
    return get_host(name).title


def own(lab, name):
    """A marked host's answer to its own key: the positive control."""
    mark = lab.profile.mark(name, 0)
    return blackbox.answer(lab.get(mark), lab.key(mark))


def main(lab, options):
    """Draws the figure fig8 for the hosts that are trained."""
    profile = lab.profile
    there = sorted(figures.trained(lab), key=OWNERS.index)
    answers = {f"own key,\nmarked\n{title(name)}": (name, own(lab, name)) for name in there}
    answers |= {f"unmarked\n{title(name)}": (name, blackbox.answer(
        lab.get(profile.host(name)), lab.initial_key(profile.mark(name, RANDOM)))) for name in there}
    for owner, suspect in FOREIGN:
        if owner in there and suspect in there:
            answer = blackbox.answer(lab.get(profile.mark(suspect, OTHER)), lab.key(profile.mark(owner, 0)))
            answers[f"key of\n{title(owner)},\nmarked\n{title(suspect)}"] = owner, answer
    rows = figures.copyright_rows(lab, list(answers.values()))
    figures.save(lab, "fig8", figures.panels(rows, ["copyright\nimage", *answers]), figures.marks_note(lab))


if __name__ == "__main__":
    scripts.run_main(main, takes=[])
