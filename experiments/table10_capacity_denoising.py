"""Table X: how large a key fits into a denoiser? PSNR and SSIM for keys of rising size; 0 is no key.

The paper: DnCNN loses less than 0.1 dB up to 160 pixels and 0.3 to 0.4 at 600; RED up to 0.2, and 0.45 to 0.7. A key
takes 6 to 26 minutes on 2 cores with AVX512-BF16, those above 160 pixels because they take fewer steps.

    python experiments/table10_capacity_denoising.py
"""

from watermark.lab import measures, scripts
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

SIZES = (0, 20, 40, 80, 160, 320, 480, 600)
GRID = grid(host=("dncnn", "red"), size=SIZES, test_set=("bsd68", "set12"))


def subject(profile, seed, host, size, test_set):
    """A host that is marked with a key of `size` pixels a side."""
    return profile.sized(host, seed, size) if size else profile.host(host)


TABLE = Table("table10_capacity_denoising", "Table X. Quality of denoisers for keys of rising size, beside the paper's "
              "numbers.", GRID, subject, measures.CAPACITY, paper("table10_capacity_denoising"), {"size": 0})

if __name__ == "__main__":
    scripts.run(TABLE)
