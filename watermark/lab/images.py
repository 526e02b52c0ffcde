"""The image sets of a lab: read once, with a stand-in where one cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from watermark import data
from watermark.visualizer import as_picture

TRAIN, TEST = "sample_train", "sample_test"  # images bundled with scikit-image


@dataclass(frozen=True)
class Images:
    """Named sets, each read when it is first asked for.

    Attributes:
      data_dir: local image sets, or None for the environment's WATERMARK_DATA.
      download_dir: where downloads are kept.
      sample: whether the bundled images may stand in for a set that cannot be had.
      pictures: copyright images, a set's name or a folder of the user's.
      log: prints a line for the user.
    """

    data_dir: str | None = None
    download_dir: Path = Path("data")
    sample: bool = True
    pictures: str = "drawn"
    log: Callable[[str], object] = print
    _kept: dict = field(default_factory=dict, repr=False)

    def elsewhere(self) -> Images:
        """The same for another process; nothing is read yet."""
        folder = self.data_dir and str(Path(self.data_dir).resolve())
        return replace(self, data_dir=folder, download_dir=self.download_dir.resolve(), log=print, _kept={})

    def train(self, name: str) -> list:
        """The images of a training set, uint8 [H, W] or [H, W, 3], or of its stand-in."""
        return list(self._get(name, TRAIN)[1].values())

    def test(self, name: str) -> list:
        """The images of a test set or of its stand-in."""
        return list(self._get(name, TEST)[1].values())

    def train_name(self, name: str) -> str:
        """The name of the training set that `train` gives: `name`, or the stand-in's."""
        return self._get(name, TRAIN)[0]

    def test_name(self, name: str) -> str:
        """The name of the test set that `test` gives."""
        return self._get(name, TEST)[0]

    def pairs(self, name: str) -> list[tuple]:
        """(noisy, clean) uint8 [H, W, 3] of a set of pairs; the bundled images with made-up noise stand in for it."""
        used, found = self._get(name, TEST)
        if used == name:
            noisy, clean = ([found[file] for file in found if Path(file).stem.endswith(ending)]
                            for ending in data.PAIRED[name])
            return list(zip(noisy, clean, strict=True))
        colour = [data.rgb(image) for image in self.test(name)]
        return [(np.uint8(np.clip(255 * data.noisy(np.float32(image) / 255, 10.0, seed=0), 0, 255)), image)
                for image in colour]

    def _get(self, name, stand_in):
        if (name, stand_in) not in self._kept:
            try:
                found = name, data.images(name, self.data_dir, self.download_dir)
            except data.AbsentError as error:  # what is there and not whole was meant, and nothing stands in for it
                if not self.sample:
                    raise
                self.log(f"NOTE: {stand_in} (bundled images) stands in for {name}: {error}")
                found = stand_in, data.images(stand_in)
            self._kept[name, stand_in] = found
        return self._kept[name, stand_in]

    def copyright(self) -> dict:
        """{name: uint8 [320, 320]}: the copyright images that visualizers are trained to show."""
        if self.pictures in data.names():
            found = data.images(self.pictures, self.data_dir, self.download_dir)
        else:
            found = data.folder_images(self.pictures)
        return {name: as_picture(image) for name, image in found.items()}
