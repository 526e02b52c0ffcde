"""Figs. 6 and 7: contact sheets of the test sets, Set12 for denoising and Set14 for super-resolution. Half a minute.

Drawn from the sets that are here, else from the bundled images. The sheets of other people's images are not committed.

    python experiments/fig6_fig7_test_sets.py
"""

from watermark.lab import figures, scripts

SHEETS = (("fig6", "set12", 6), ("fig7", "set14", 7))


def main(lab, options):
    """Draws the figures fig6 and fig7."""
    for name, test_set, columns in SHEETS:
        images = lab.images.test(test_set)
        sides = [f"{image.shape[1]}×{image.shape[0]}" for image in images]
        cells = list(zip(images, sides, strict=True))
        figures.save(lab, name, figures.panels([cells[i:i + columns] for i in range(0, len(cells), columns)],
                                               limits=(0, 255)))


if __name__ == "__main__":
    scripts.run_main(main, takes=[])
