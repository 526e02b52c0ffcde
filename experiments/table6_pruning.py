"""Table VI: does the mark survive compression by magnitude pruning?

The paper prunes the smallest weights of every layer and verifies the marked model. All its marks pass but at the
highest rate, and DnCNN loses 2 dB there. `--profile=quick` uses the marked models that the project ships and takes
4 minutes on 2 cores; a mark made anew takes 6 to 10 minutes each. `--profile=paper` is for a GPU.

    python experiments/table6_pruning.py
"""

from watermark.attacks import prune
from watermark.lab import runner
from watermark.lab.tables import Table

# The paper prints the second rate as 0.22; it lies between .25 and .35, and so do its distances: .30.
RATES = {
    "dncnn": (0.25, 0.30, 0.35, 0.40),
    "red": (0.08, 0.10, 0.15, 0.20),
    "vdsr": (0.25, 0.30, 0.35, 0.40),
    "srdncnn": (0.25, 0.30, 0.35, 0.40),
}
# PSNR in dB, d in 10^-3, d <= eta, then the NCC of ours.
PRINTED = {
    "dncnn": ((29.77, 2.09, True, 0.9915), (29.42, 2.82, True, 0.9857), (29.22, 4.48, True, 0.9707),
              (28.39, 6.36, False, 0.9355)),
    "red": ((26.26, 2.41, True, 0.9889), (23.85, 3.83, True, 0.9723), (19.49, 5.98, True, 0.9500),
            (23.18, 7.93, False, 0.8654)),
    "vdsr": ((30.04, 2.21, True, 0.9960), (29.89, 3.75, True, 0.9880), (29.48, 5.01, True, 0.9765),
             (28.94, 6.58, False, 0.9559)),
    "srdncnn": ((29.88, 2.76, True, 0.9920), (29.78, 3.86, True, 0.9846), (29.47, 5.99, True, 0.9609),
                (29.07, 6.73, False, 0.9494)),
}
GRID = [{"host": host, "scheme": "ours", "rate": rate} for host in RATES for rate in RATES[host]]
PAPER = {
    (host, "ours", rate): {"psnr": psnr, "distance": d * 1e-3, "verified": verified, "ncc": ncc,
                           "ncc_verified": ncc > 0.95}
    for host in RATES
    for rate, (psnr, d, verified, ncc) in zip(RATES[host], PRINTED[host], strict=True)
}


def trial(lab, seed, host, scheme, rate):
    """Marks the host with the key of `seed`, prunes it, verifies it."""
    marked, key = lab.marked(host, seed, scheme)
    return lab.judge(host, scheme, prune(marked, rate), key)


TABLE = Table("table6_pruning", "Table VI. Verification after pruning, beside the paper's numbers.", GRID, trial, PAPER)

if __name__ == "__main__":
    runner.run(TABLE)
