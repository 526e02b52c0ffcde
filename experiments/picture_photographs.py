"""What the networks do to photographs, before and after: the input, the host's answer, the marked host's, the original.

Photographs that scikit-image brings, a corner of each. A minute.

    python experiments/picture_photographs.py
"""

import numpy as np

from watermark.lab import figures, makers, scripts
from watermark import data, inference, metrics
from watermark.hosts import get_host

SHOWN = (("dncnn", "camera.png", "", "noisy, σ = 25"), ("srdncnn", "coffee.png", 2, "bicubic ×2"))
CORNER = np.s_[60:220, 120:280]
TITLES = ("before", "after the host", "after the marked host", "original")


def main(lab, options):
    """Draws the figure photographs: a denoiser's row, a super-resolution network's row."""
    rows, names = [], []
    for host, photograph, variant, words in SHOWN:
        task, mark = makers.task_of(host), lab.profile.mark(host, 0)
        ((image, target),) = task.pairs([data.images("sample_test")[photograph]], variant)
        after = [inference.restored(inference.predictor(lab.get(spec)), image) for spec in (mark.parent, mark)]
        pictures = [np.clip(picture, 0.0, 1.0) for picture in (image, *after)]
        quality = [f"{metrics.psnr(picture, target):.2f} dB" for picture in pictures]
        rows.append([*((picture[CORNER], said) for picture, said in zip(pictures, quality, strict=True)),
                     (target[CORNER], "")])
        names.append(f"{get_host(host).title}\n{words}")
    figures.save(lab, "photographs", figures.panels(rows, TITLES, names))


if __name__ == "__main__":
    scripts.run_main(main, takes=[])
