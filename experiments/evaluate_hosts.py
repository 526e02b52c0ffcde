"""The hosts before any mark: PSNR, SSIM and WPSNR on every test set, beside the published values. About 10 minutes.

With `--weights` it measures a file of public weights (MatConvNet .mat, Keras-2 .h5) as the one host in `--hosts`.

    python experiments/evaluate_hosts.py
    python experiments/evaluate_hosts.py --hosts=vdsr --weights=vdsr_official.mat
"""

import dataclasses
from pathlib import Path

from absl import flags

from watermark.lab import measures, runner, scripts
from watermark.files import sha256
from watermark.hosts import HOSTS, load_pretrained
from watermark.lab.paper import paper
from watermark.lab.tables import Measure, Table
from watermark.tasks import TASKS

SHIPPED = "ours"
GRID = [{"host": host.name, "weights": SHIPPED, "test_set": test_set, "scale": scale}
        for host in HOSTS.values() for test_set in host.test_sets for scale in TASKS[host.task].variants]
PUBLISHED = paper("table1_fidelity_denoising").where(lam=0) | paper("table2_fidelity_sr").where(marked=False)


def subject(profile, seed, host, weights, test_set, scale):
    """The trained host; there is one, whatever the seed."""
    return profile.host(host)


def trained(lab, subjects, row):
    """Quality of the trained host on the test set of a row."""
    (spec,) = subjects.values()
    return measures.quality(lab, lab.get(spec), row["host"], row["test_set"], row["scale"])


def table(weights=SHIPPED, model=None):
    """The table for the trained hosts, or for a model of other weights."""

    def other(lab, subjects, row):
        return measures.quality(lab, model, row["host"], row["test_set"], row["scale"])

    measure = Measure(other if model else trained, measures.QUALITY_COLUMNS, test_set=lambda row: row["test_set"],
                      trained="data of their own" if model else "")
    return Table("evaluate_weights" if model else "evaluate_hosts", "The unmarked hosts, beside the paper's numbers.",
                 [row | {"weights": weights} for row in GRID], subject, measure, PUBLISHED)


TABLE = table()


def main(lab, options, weights=None):
    """The table of the trained hosts, or of one file of weights."""
    lab = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, trials=1))
    made = TABLE
    if weights:
        if not options.hosts or len(options.hosts) != 1:
            raise ValueError(f"--weights={weights} needs the host it belongs to, for instance --hosts=dncnn")
        model = load_pretrained(options.hosts[0], weights)
        made = table(f"{Path(weights).name} {sha256(weights)[:8]}", model)
    runner.make(lab, made, options)


if __name__ == "__main__":
    flags.DEFINE_string("weights", None, "file of public weights to measure in place of the trained host")
    scripts.run_main(lambda lab, options: main(lab, options, flags.FLAGS.weights), tables=[TABLE])
