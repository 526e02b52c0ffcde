"""Beyond the paper: how many false claims does each rule accept?

A thousand keys that a network has never seen claim it, honestly drawn ("foreign": S is S₀) or made up afterwards
("forged": S is declared to be whatever the network answers), on marked and on unmarked hosts, with keys of rising size
(fewer of the larger ones, so that each row costs the same). The paper's rule is d <= η, with η computed for the key's
n or, as the paper prints it, 6.07e-3; the evidence rule is `evidence.stands_out`, against as many other keys. Half
a minute a row on 2 cores, 10 minutes in all.

    python experiments/evidence_false_claims.py --trials=1
"""

import dataclasses

import numpy as np

from watermark.lab import notes, scripts
from watermark import blackbox, evidence, keys, metrics, verification
from watermark.hosts import HOSTS
from watermark.lab.tables import Column, Measure, Table, grid
from watermark.schemes import OURS

TIMES = (1, 2, 4)  # the key's side, in the host's own
MODELS = {"unmarked": lambda mark: mark.parent, "marked": lambda mark: mark}
GRID = grid(host=tuple(HOSTS), scheme=(OURS,), model=tuple(MODELS), times=TIMES)
COLUMNS = (
    Column("foreign keys", "count", form=".0f"),
    Column("pixels n", "pixels", form=".0f"),
    Column("η (10⁻³)", "threshold", 1e3),
    Column("least d of a foreign key (10⁻³)", "least", 1e3),
    Column("foreign, d ≤ η (%)", "foreign_threshold", 1e2, ".1f"),
    Column("foreign, d ≤ 6.07e-3 (%)", "foreign_fixed", 1e2, ".1f"),
    Column("forged, d ≤ η (%)", "forged_threshold", 1e2, ".1f"),
    Column("foreign or forged, evidence (%)", "evidence", 1e2, ".1f"),
    Column("evidence, 95 % interval to (%)", "evidence_high", 1e2),
    Column("their ρ, mean", "rho_mean", form=".3f"),
    Column("largest", "rho_largest", form=".3f"),
)


def subject(profile, seed, host, scheme, model, times):
    """A mark, and the model that is claimed."""
    mark = profile.mark(host, seed, scheme)
    return {"mark": mark, "claimed": MODELS[model](mark)}


def values(lab, subjects, row):
    """Rates of accepted false claims."""
    mark, times = subjects["mark"], row["times"]
    kind, seed = lab.profile.kind(mark), mark.seed
    kind = dataclasses.replace(kind, size=kind.size * times)
    ask = blackbox.as_suspect(lab.get(subjects["claimed"]), kind)
    count = max(lab.profile.null_keys // times**2, 9)
    triggers, initials = keys.random_keys(kind, count, label=f"foreign {seed}")
    answers = ask(triggers)
    null = verification.null_rho(ask, kind, count, label=f"against foreign {seed}")
    rho = evidence.residual_correlation(triggers, answers, initials, kind)
    eta = metrics.threshold(initials[0].size)
    d = np.array([metrics.distance(answer, S) for answer, S in zip(answers, initials, strict=True)])
    # Asked again, for the forger's S is the answer itself; the network's rounding is all that is left of d.
    forged = np.array([metrics.distance(a, b) for a, b in zip(ask(triggers[:50]), answers[:50], strict=True)])
    accepted = sum(evidence.stands_out(value, null, evidence.numbers(kind.base(K) - answer, K.size))
                   for value, K, answer in zip(rho, triggers, answers, strict=True))
    return {"count": count, "pixels": initials[0].size, "threshold": eta, "least": float(d.min()),
            "foreign_threshold": float(np.mean(d <= eta)),
            "foreign_fixed": float(np.mean(d <= metrics.threshold(1600))),
            "forged_threshold": float(np.mean(forged <= eta)),
            "evidence": accepted / count, "evidence_high": evidence.clopper_pearson(accepted, count)[2],
            "rho_mean": float(rho.mean()), "rho_largest": float(rho.max())}


TABLE = Table("evidence_false_claims", "False claims accepted, by the paper's rule and by the evidence.", GRID,
              subject, Measure(values, COLUMNS, notes.marks_notes, on_images=False))

if __name__ == "__main__":
    scripts.run(TABLE)
