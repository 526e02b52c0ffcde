"""Beyond the paper: whom the visualizer shows its image to, in PSNR to the copyright image. A grey image has 6 dB.

The own key on the marked model; the own key on the unmarked model, which for super-resolution answers near S already;
and a hundred fresh keys on either. 4 minutes a visualizer on 2 cores, seconds once it is kept.

    python experiments/visualizer.py --trials=1
"""

from watermark import inference, metrics, visualizer
from watermark.hosts import HOSTS
from watermark.keys import random_keys
from watermark.lab import runner
from watermark.lab.tables import Column, Table

PICTURES = ("logo.png", "sign.png")
STRANGERS = 100
GRID = [{"host": host, "scheme": "ours", "picture": picture} for host in HOSTS for picture in PICTURES]
COLUMNS = (
    Column("own key, marked (dB)", "own", form=".1f"),
    Column("own key, unmarked", "unmarked", form=".1f"),
    Column(f"{STRANGERS} other keys, marked: most", "others_marked", form=".1f"),
    Column("unmarked: most", "others_unmarked", form=".1f"),
)


def trial(lab, seed, host, scheme, picture):
    """PSNR of what the visualizer shows to each."""
    image = lab.copyright_images()[picture]
    (marked, key), R = lab.marked(host, seed, scheme), lab.visualizer(host, seed, image, scheme=scheme)
    triggers, _ = random_keys(key.kind, STRANGERS, "shown to")

    def shown(suspect, triggers):
        answers = inference.as_suspect(suspect, key.kind)(triggers)
        return max(metrics.psnr(visualizer.show(R, answer), visualizer.as_target(image)) for answer in answers)

    values = {"own": shown(marked, key.trigger[None]), "unmarked": shown(lab.host(host), key.trigger[None]),
              "others_marked": shown(marked, triggers), "others_unmarked": shown(lab.host(host), triggers)}
    return {name: float(value) for name, value in values.items()}


def depends(lab, seed, host, scheme, picture):
    """The visualizer's own recipe."""
    return lab.plan_visualizer(host, seed, lab.copyright_images()[picture], scheme).name


TABLE = Table("visualizer", "What the visualizer shows to whom: PSNR to the copyright image.", GRID, trial, {}, COLUMNS,
              depends)

if __name__ == "__main__":
    runner.run(TABLE)
