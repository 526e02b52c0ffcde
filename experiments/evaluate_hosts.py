"""The hosts before any mark: PSNR, SSIM and WPSNR on every test set, beside the published values. About 10 minutes.

With `--weights` it measures a file of public weights (MatConvNet .mat, Keras-2 .h5) as the one host in `--hosts`.

    python experiments/evaluate_hosts.py
    python experiments/evaluate_hosts.py --hosts=vdsr --weights=vdsr_official.mat
"""

import dataclasses
from pathlib import Path

import numpy as np
from absl import flags

from watermark import inference, metrics
from watermark.files import sha256
from watermark.hosts import HOSTS, load_pretrained
from watermark.lab import runner
from watermark.lab.tables import Column, Table
from watermark.tasks import TASKS

SHIPPED = "ours"
GRID = [{"host": host.name, "weights": SHIPPED, "test_set": test_set, "scale": scale}
        for host in HOSTS.values() for test_set in host.test_sets for scale in TASKS[host.task].variants]
# PSNR in dB, SSIM, WPSNR in dB of the unmarked hosts: the paper's Tables I and II.
PRINTED = {
    ("dncnn", "set12", ""): (30.41, 0.861, 37.49), ("dncnn", "bsd68", ""): (29.20, 0.827, 36.29),
    ("red", "set12", ""): (30.28, 0.857, 37.37), ("red", "bsd68", ""): (29.11, 0.822, 36.20),
    ("vdsr", "set14", 2): (32.83, 0.916, 39.93), ("vdsr", "set14", 3): (29.66, 0.830, 36.75),
    ("vdsr", "set14", 4): (27.87, 0.765, 34.96),
    ("srdncnn", "set14", 2): (32.89, 0.911, 39.98), ("srdncnn", "set14", 3): (29.68, 0.830, 36.77),
    ("srdncnn", "set14", 4): (27.83, 0.764, 34.91),
}
PUBLISHED = {row: dict(zip(("psnr", "ssim", "wpsnr"), values, strict=True)) for row, values in PRINTED.items()}
COLUMNS = (Column("PSNR (dB)", "psnr"), Column("SSIM", "ssim", form=".4f"), Column("WPSNR (dB)", "wpsnr"))


def quality(lab, model, host, test_set, scale):
    """Mean PSNR, SSIM and WPSNR of `model` on a test set."""
    measured = inference.evaluate(model, TASKS[HOSTS[host].task], lab.test_images(host, test_set)[1], scale,
                                  metric=lambda a, b: (metrics.psnr(a, b), metrics.ssim(a, b), metrics.wpsnr(a, b)))
    return dict(zip(("psnr", "ssim", "wpsnr"), np.mean(measured, 0).tolist(), strict=True))


def trial(lab, seed, host, weights, test_set, scale):
    """Of the trained host; there is one, whatever the seed."""
    return quality(lab, lab.host(host), host, test_set, scale)


def table(weights=SHIPPED, model=None):
    """The table for the trained hosts, or for a model of other weights."""
    published = {(host, weights, test_set, scale): values for (host, test_set, scale), values in PUBLISHED.items()}

    def other(lab, seed, host, weights, test_set, scale):
        return quality(lab, model, host, test_set, scale)

    return Table("evaluate_hosts", "The unmarked hosts, beside the paper's numbers.",
                 [row | {"weights": weights} for row in GRID], other if model else trial, published, COLUMNS)


TABLE = table()


def main(lab):
    """The table of the trained hosts, or of one file of weights."""
    lab = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, trials=1))
    hosts, made = runner.FLAGS.hosts, TABLE
    if path := runner.FLAGS.weights:
        if not hosts or len(hosts) != 1:
            raise ValueError(f"--weights={path} needs the host it belongs to, for instance --hosts=dncnn")
        model = load_pretrained(hosts[0], path)
        made = table(f"{Path(path).name} {sha256(path)[:8]}", model)
    runner.make(lab, made, hosts=hosts, stop_after=runner.FLAGS.stop_after, reuse=runner.FLAGS.reuse)


if __name__ == "__main__":
    flags.DEFINE_string("weights", None, "file of public weights to measure in place of the trained host")
    runner.run_main(main)
