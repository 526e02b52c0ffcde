"""Fig. 4: where the threshold comes from. An image, the same with noise N(0, 1/4²), and η against the number of pixels.

Under a minute. `metrics.threshold` derives η: an error that is still recognisable noise is N(0, 1/4²) in every pixel.

    python experiments/fig4_noise.py
"""

import matplotlib.pyplot as plt
import numpy as np

from watermark.lab import figures, scripts
from watermark import data, metrics


def main(lab, options):
    """Draws the figure fig4, with an image of the bundled set."""
    clean = data.grey(data.images("sample_test")["camera.png"])[::2, ::2] / 255.0
    noisy = data.noisy(np.float32(clean), 255.0 / 4.0, seed=0)
    figure, axes = plt.subplots(1, 3, figsize=(figures.WIDTH, 2.3), width_ratios=(1, 1, 1.3))
    figures.panel(axes[0], clean, "clean")
    figures.panel(axes[1], noisy, "with noise of deviation ¼", f"PSNR {metrics.psnr(clean, noisy):.1f} dB")
    sides = np.arange(8, 129)
    axes[2].plot(sides, [1e3 * metrics.threshold(side * side) for side in sides])
    eta = 1e3 * metrics.threshold(1600)
    axes[2].plot(40, eta, "o", color="C1", ms=4)
    axes[2].text(44, eta, f"η(1600) = {eta:.2f}·10⁻³", va="bottom")
    axes[2].set(xlabel="side of the key (pixels)", ylabel="threshold η (10⁻³)", title="η falls with the key's size")
    figures.save(lab, "fig4", figure)


if __name__ == "__main__":
    scripts.run_main(main, takes=[])
