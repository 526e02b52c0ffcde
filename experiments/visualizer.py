"""Beyond the paper: whom the visualizer shows its image to, in PSNR to the copyright image. A grey image has 6 dB.

The own key on the marked model; the own key on the unmarked model, which for super-resolution answers near S already;
and a hundred fresh keys on either. 4 to 7 minutes a visualizer on 2 cores, seconds once it is kept.

    python experiments/visualizer.py --trials=1
"""

from watermark.lab import notes, scripts
from watermark import blackbox, metrics, visualizer
from watermark.data.sets import DRAWN
from watermark.hosts import HOSTS
from watermark.keys import random_keys
from watermark.lab.images import Images
from watermark.lab.tables import Column, Measure, Table, grid
from watermark.schemes import OURS

PICTURES = tuple(DRAWN)
STRANGERS = 100
GRID = grid(host=tuple(HOSTS), scheme=(OURS,), picture=PICTURES)
COLUMNS = (
    Column("own key, marked (dB)", "own", form=".1f"),
    Column("own key, unmarked", "unmarked", form=".1f"),
    Column(f"{STRANGERS} other keys, marked: most", "others_marked", form=".1f"),
    Column("unmarked: most", "others_unmarked", form=".1f"),
)


def subject(profile, seed, host, scheme, picture):
    """The visualizer of a marked host's key."""
    return profile.seen(profile.mark(host, seed, scheme), Images().copyright()[picture])


def values(lab, subjects, row):
    """PSNR of what the visualizer shows to each."""
    (spec,) = subjects.values()
    image, R, key = lab.picture(spec.picture), lab.get(spec), lab.key(spec.parent)
    marked, unmarked = lab.get(spec.parent), lab.get(spec.trained)
    triggers, _ = random_keys(key.kind, STRANGERS, "shown to")

    def shown(suspect, triggers):
        answers = blackbox.as_suspect(suspect, key.kind)(triggers)
        return float(max(metrics.psnr(visualizer.show(R, answer), visualizer.as_target(image)) for answer in answers))

    return {"own": shown(marked, key.trigger[None]), "unmarked": shown(unmarked, key.trigger[None]),
            "others_marked": shown(marked, triggers), "others_unmarked": shown(unmarked, triggers)}


TABLE = Table("visualizer", "What the visualizer shows to whom: PSNR to the copyright image.", GRID, subject,
              Measure(values, COLUMNS, notes.marks_notes, on_images=False))

if __name__ == "__main__":
    scripts.run(TABLE)
