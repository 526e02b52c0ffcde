"""Beyond the paper: the course of an embedding; both losses, PSNR and the distance to S0 against steps.

Embeds the key of seed 0 once more, stopping every 25 steps to look: 10 minutes on 2 cores; it resumes.

    python experiments/fig_embedding.py
"""

import matplotlib.pyplot as plt

from watermark.lab import figures, makers, scripts
from watermark import blackbox, inference, metrics
from watermark.states import read_history

EVERY = 25


def main(lab, options):
    """Draws the figure embedding for the first host asked for."""
    host = scripts.one_host(options)
    mark = lab.resolve(lab.profile.mark(host, 0))
    key, task = lab.initial_key(mark), makers.task_of(host)
    small = sorted(lab.test_images(host), key=lambda image: image.size)[:3]

    def look(model):
        psnr = inference.evaluate(model, task, small, precision=lab.compute.precision).mean()
        return {"psnr": float(psnr), "d": metrics.distance(blackbox.answer(model, key), key.initial)}

    folder = lab.folder(mark).with_name(f"{mark.name}-course")
    before = look(lab.get(mark.parent))
    makers.mark(lab, mark, folder, validate=look, validate_every=EVERY)
    rows = [row for row in read_history(folder) if "d" in row]
    steps = [row["step"] for row in rows]
    figure, axes = plt.subplots(2, 2, figsize=(figures.WIDTH, 3.6), sharex=True)
    series = (("task", r"task's loss $\ell_d$, Eq. (5)", None), ("mark", r"mark's loss $\ell_w$, Eq. (6)", None),
              ("psnr", f"PSNR (dB), {len(small)} test images", before["psnr"]),
              ("d", "distance of M(K) to S₀", before["d"]))
    for axis, (name, label, start) in zip(axes.flat, series, strict=True):
        axis.plot(steps, [row[name] for row in rows])
        axis.set(ylabel=label)
        if start is not None:
            axis.axhline(start, color="C6", ls=":", lw=0.9)
            axis.text(steps[-1], start, "unmarked", ha="right", va="bottom", fontsize=7)
    for axis in axes[:, 1]:
        axis.set_yscale("log")
    axes[1, 1].axhline(metrics.threshold(key.initial.size), color="C1", ls="--", lw=0.9)
    axes[1, 1].text(steps[-1], metrics.threshold(key.initial.size), "η", ha="right", va="bottom", color="C1")
    for axis in axes[1]:
        axis.set(xlabel="step", xlim=(0, steps[-1]))
    figures.save(lab, "embedding", figure)


if __name__ == "__main__":
    scripts.run_main(main)
