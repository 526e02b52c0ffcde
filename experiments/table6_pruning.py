"""Table VI: does the mark survive compression by magnitude pruning?

The paper prunes the smallest weights of every layer and verifies the marked model. All its marks pass but at the
highest rate, and DnCNN loses 2 dB there; of the baselines', by NCC, few pass. They are asked for by
`--schemes=ours,deepsigns,adi`. `--profile=quick` uses the marked models that the project ships and takes
half an hour on 2 cores, `--trials=1` ten minutes; a mark made anew takes 5 to 10 minutes with AVX512-BF16.
`--profile=paper` is for a GPU.

    python experiments/table6_pruning.py
"""

from watermark.lab import measures, scripts
from watermark.attacks import Prune
from watermark.lab.paper import paper
from watermark.lab.tables import Table
from watermark.schemes import MODULES

RATES = {
    "dncnn": (0.25, 0.30, 0.35, 0.40),
    "red": (0.08, 0.10, 0.15, 0.20),
    "vdsr": (0.25, 0.30, 0.35, 0.40),
    "srdncnn": (0.25, 0.30, 0.35, 0.40),
}
GRID = [{"host": host, "scheme": scheme, "rate": rate} for host in RATES for scheme in MODULES for rate in RATES[host]]


def subject(profile, seed, host, scheme, rate):
    """A marked host that a thief has pruned."""
    return profile.mark(host, seed, scheme).under(Prune(rate))


TABLE = Table("table6_pruning", "Table VI. Verification after pruning, beside the paper's numbers.", GRID, subject,
              measures.ROBUSTNESS, paper("table6_pruning"))

if __name__ == "__main__":
    scripts.run(TABLE)
