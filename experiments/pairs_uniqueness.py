"""Section V-D.3: are the keys of two models apart, and does one model answer to the other's key?

DnCNN against RED, SR-DnCNN against VDSR, and two REDs that differ in their initialisation only. The paper's
distances of denoisers are of residuals, K − M(K), as its authors' public code trains them; both are shown. Seconds,
for the models ship; made anew, a second RED takes 20 to 30 minutes on 2 cores with AVX512-BF16.

    python experiments/pairs_uniqueness.py
"""

from dataclasses import replace

from watermark.lab import measures, scripts
from watermark.lab.paper import paper
from watermark.lab.tables import Table

MODELS = (("dncnn", "red"), ("srdncnn", "vdsr"), ("red", "red"))
GRID = [{"host": host, "other": other, "compared": compared} for host, other in MODELS for compared in measures.PAIRS]
# Of residuals, for denoisers; for super-resolution the paper prints none.
PAPER = paper("pairs_uniqueness").renamed(distance="distance_residual")
OTHER = 1  # the seed of the other's key, and of the initialisation of a second network of the same kind


def subject(profile, seed, host, other, compared):
    """Two marked models with different keys."""
    parent = profile.host(other, OTHER if host == other else 0)
    return {"one": profile.mark(host, seed), "other": replace(profile.mark(other, seed + OTHER), parent=parent)}


TABLE = Table("pairs_uniqueness", "Section V-D.3. Distances between keys and answers of two models, beside the paper's "
              "numbers.", GRID, subject, measures.DISTANCES, PAPER)

if __name__ == "__main__":
    scripts.run(TABLE)
