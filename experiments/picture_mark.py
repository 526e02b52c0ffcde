"""What a mark looks like: K, S0, and the host's answer before and after embedding. Under a minute.

    python experiments/picture_mark.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from watermark import inference, metrics
from watermark.files import whole
from watermark.lab import runner


def main(lab):
    """Writes results/<profile>/figures/mark.png and .pdf for the first host asked for."""
    host = (runner.FLAGS.hosts or ["dncnn"])[0]
    marked, key = lab.marked(host, 0)
    answers = [inference.as_suspect(model, key.meta)(key.trigger[None])[0] for model in (lab.host(host), marked)]
    panels = [("trigger image K", key.trigger), ("wanted: S₀ = G(K)", key.initial),
              ("M(K) before embedding", answers[0]), ("M(K) after embedding", answers[1])]
    figure, axes = plt.subplots(1, 4, figsize=(7.2, 2.3), layout="constrained")
    for axis, (title, image) in zip(axes, panels, strict=True):
        shown = axis.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
        if image.shape == key.initial.shape and title.startswith("M(K)"):
            d = metrics.distance(image, key.initial)
            axis.set_xlabel(f"d to S₀ = {d * 1e3:.2f}·10⁻³", fontsize=8)
    axes[1].set_xlabel(f"η = {metrics.threshold(key.initial.size) * 1e3:.2f}·10⁻³", fontsize=8)
    figure.colorbar(shown, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    for suffix in ("png", "pdf"):
        path = Path(lab.workdir) / "results" / lab.profile.name / "figures" / f"mark.{suffix}"
        with whole(path) as temporary:
            figure.savefig(temporary, dpi=200)
        print(path)


if __name__ == "__main__":
    runner.run_main(main)
