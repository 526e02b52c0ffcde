"""Table I: what a mark costs the denoisers, for several strengths λ of Eq. (4).

The paper: at λ = 10⁻³ within 0.02 dB of the unmarked host, but RED on PolyU 0.07 below; at λ = 1, 0.2 to 0.5 dB below
on BSD68 and Set12, 1.8 (RED) and 4.7 (DnCNN) on PolyU. Expected, on BSD68 and Set12: within 0.006 dB at λ = 10⁻³,
0.4 to 1.0 dB below at λ = 1; on PolyU 0.05 dB below at λ = 10⁻³, at λ = 1 RED 0.84 below and DnCNN 0.11 above. PolyU
goes through the network per channel, as it is. A mark takes 4 to 6 minutes on 2 cores with AMX, the rows of BSD68 a
minute and those of PolyU 6 to 8 minutes each, about four times as long with AVX2 alone.

    python experiments/table1_fidelity_denoising.py
"""

import dataclasses

from watermark.lab import measures, scripts
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

LAMBDAS = (1.0, 1e-1, 1e-2, 1e-3, 0.0)
GRID = grid(host=("dncnn", "red"), lam=LAMBDAS, test_set=("bsd68", "set12", "polyu"))


def subject(profile, seed, host, lam, test_set):
    """A host that is marked by the paper's loss with that λ; with 0, unmarked."""
    return profile.plain(host, seed, lam) if lam else profile.host(host)


def notes(profile, subjects):
    """What is said of any mark, and that these are not `quick`'s."""
    return [*measures.FIDELITY.notes(profile, subjects), "marks by the paper's loss and optimizer, λ constant (Adam, "
            f"from {profile.adam:g}), not by the profile's own recipe, whose marks Tables III and X measure",
            "PolyU's photographs go through the network channel by channel, as they are"]


TABLE = Table("table1_fidelity_denoising", "Table I. Quality of marked denoisers for several λ, beside the paper's "
              "numbers.", GRID, subject, dataclasses.replace(measures.FIDELITY, notes=notes),
              paper("table1_fidelity_denoising"), {"lam": 0.0})

if __name__ == "__main__":
    scripts.run(TABLE)
