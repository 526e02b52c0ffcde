"""Models kept under their names, each beside a JSON file that says what it is; made once, whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from watermark import checkpoints
from watermark.files import locked

LONGER = "longer"  # the folder, beside the models that tables are of, of hosts that are trained further


@dataclass(frozen=True)
class Cache:
    """Folders of models. Merging two machines' is copying files.

    Attributes:
      folder: where models are written.
      shipped: folders that are only read.
    """

    folder: Path
    shipped: Sequence[Path] = (checkpoints.SHIPPED, checkpoints.SHIPPED / LONGER)

    def path(self, name: str) -> Path | None:
        """Where a model is kept, or None."""
        folders = dict.fromkeys(Path(folder).resolve() for folder in (self.folder, *self.shipped))
        paths = (folder / f"{name}.keras" for folder in folders)
        return next((path for path in paths if checkpoints.kept(path)), None)

    def get(self, name: str, make: Callable[[], tuple[keras.Model, dict]]) -> keras.Model:
        """The model of a name; made, and kept with what `make` says of it, where it is not there yet.

        Another process that asks for the same name waits and gets the same model.

        Raises:
          CheckpointError: where it is there and damaged.
        """
        if path := self.path(name):
            return checkpoints.load(path)
        with locked(Path(self.folder) / name):
            if path := self.path(name):
                return checkpoints.load(path)
            model, fields = make()
            checkpoints.keep(model, Path(self.folder) / f"{name}.keras", fields)
            return model

    def forget(self, name: str) -> None:
        """Removes a model from the folder that is written."""
        for suffix in (".keras", ".json"):
            (Path(self.folder) / f"{name}{suffix}").unlink(missing_ok=True)
