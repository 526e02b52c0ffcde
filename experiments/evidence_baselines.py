"""Beyond the paper: how often do the baselines' own rules verify a key that a network has never seen?

A thousand fresh keys claim each host, marked by that scheme and not. By chance .026 of those of deepsigns do, of 40×40
pixels, and .011 of those of adi (docs/baselines.md). A thousand keys are a thousand images for deepsigns, half a
minute on 2 cores, and forty thousand for adi, 6 to 14. Marks, one a host and scheme, are made on the way, 5 to 10
minutes each with AVX512-BF16, none for `unmarked` rows; `--ready` makes only rows, unmarked ones too, whose marks are
there.

    python experiments/evidence_baselines.py --schemes=deepsigns,adi --trials=1
"""

from evidence_false_claims import MODELS

from watermark.lab import notes, scripts
from watermark.baselines import adi, common, deepsigns
from watermark.hosts import HOSTS
from watermark.lab.tables import Column, Measure, Table, grid
from watermark.schemes import get_scheme

GRID = grid(host=tuple(HOSTS), scheme=(deepsigns.name, adi.name), model=tuple(MODELS))
COLUMNS = (
    Column("fresh keys", "keys", form=".0f"),
    Column("verified (%)", "rate", 1e2),
    Column("95 % interval from (%)", "low", 1e2),
    Column("to (%)", "high", 1e2),
)


def subject(profile, seed, host, scheme, model):
    """A mark, and the model that is claimed."""
    mark = profile.mark(host, seed, scheme)
    return {"mark": mark, "claimed": MODELS[model](mark)}


def values(lab, subjects, row):
    """The share of fresh keys that the scheme's own rule verifies."""
    mark, keys = subjects["mark"], lab.profile.null_keys
    rate = common.false_positives(get_scheme(mark.scheme), lab.get(subjects["claimed"]), lab.profile.kind(mark), keys,
                                  label=f"fresh {mark.seed}")
    return {"keys": keys, "rate": rate.rate, "low": rate.low, "high": rate.high}


TABLE = Table("evidence_baselines", "False claims that the baselines' own rules accept.", GRID, subject,
              Measure(values, COLUMNS, notes.marks_notes, on_images=False))

if __name__ == "__main__":
    scripts.run(TABLE)
