"""Beyond the paper: is the mark still found where the network is served in another form, or works on bent images?

As TFLite in half precision or with 8-bit weights and activations, as ONNX (`pip install -e ".[onnx]"`), and where a
service answers with 8-bit images, which cut S to [0, 1]; and behind a wrapper that shows the network darker images, or
images of another tone curve, and brings its answers back. PSNR is that of what is served, on its first test set. No
training: 5 to 20 minutes a host on 2 cores. Expected of DnCNN: z of 20 or more in every form but half the brightness,
which costs 3 dB and the mark.

    python experiments/evidence_served.py --trials=1
"""

from watermark.lab import measures, notes, scripts
from watermark.attacks import Bend, Dim, Round, Serve
from watermark.hosts import HOSTS
from watermark.lab.tables import Column, Measure, Table, grid
from watermark.schemes import OURS

FORMS = {
    "as it is": (),
    "8-bit answers": (Round(8),),
    "TFLite, float16": (Serve("tflite_float16"),),
    "TFLite, int8": (Serve("tflite_int8"),),
    "ONNX": (Serve("onnx"),),
    "0.8 times as bright": (Dim(0.8),),
    "0.5 times as bright": (Dim(0.5),),
    "bent by γ = 0.7": (Bend(0.7),),
    "bent by γ = 1.5": (Bend(1.5),),
}
GRID = grid(host=tuple(HOSTS), scheme=(OURS,), form=tuple(FORMS))
COLUMNS = (
    Column("PSNR (dB)", "psnr"),
    Column("d (10⁻³)", "distance", 1e3),
    Column("d ≤ η", "verified", form=None),
    Column("ρ", "rho", form=".3f"),
    Column("z of ρ", "z_score", form=".1f"),
    Column("evidence", "evident", form=None),
)


def subject(profile, seed, host, scheme, form):
    """A marked host as it is served."""
    return profile.mark(host, seed, scheme).under(*FORMS[form])


def values(lab, subjects, row):
    """PSNR and the verdict."""
    (spec,) = subjects.values()
    verdict = measures.verdict(lab, spec)
    return {"psnr": measures.psnr(lab, lab.get(spec), spec.host), **measures.recorded(verdict),
            "evident": verdict.stands_out}


TABLE = Table("evidence_served", "The mark of a network that is served in another form, or works on bent images.",
              GRID, subject, Measure(values, COLUMNS, notes.evidence_notes))

if __name__ == "__main__":
    scripts.run(TABLE)
