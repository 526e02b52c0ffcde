"""What an attack is: a frozen dataclass of its knobs, registered once.

Names of attacked models, rows of tables, labels of figures, flags of `watermark attack` and one test of properties all
follow from the dataclass's fields. One more attack is one more file that `watermark/attacks/__init__.py` imports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import keras

from watermark.recipes import Recipe
from watermark.training import Batches, Run

ATTACKS: dict[str, type[Attack]] = {}


@dataclass(frozen=True)
class Thief:
    """What an attacker has.

    Attributes:
      batches: (name of an image set, recipe, seed) -> training batches of the stolen network's own task.
      key: seed -> a key of the thief's own that fits the network.
      embed: how the owner's scheme embeds a key: (model, key, batches, recipe, run) -> marked copy.
      run: where and under whose eyes the thief trains.
      seed: of the trial; an attack adds its own.
    """

    batches: Callable[[str, Recipe, int], Batches]
    key: Callable[[int], Any]
    embed: Callable[..., keras.Model]
    run: Run = Run()
    seed: int = 0


class Training(NamedTuple):
    """What an attack trains.

    Attributes:
      data: name of the image set.
      recipe: how.
      seed: of the batches; the trial's is added.
      key: seed of the thief's key, to which the trial's is added, or None where none is embedded.
    """

    data: str
    recipe: Recipe
    seed: int
    key: int | None = None


@dataclass(frozen=True)
class Attack:
    """Base of all attacks; calling one takes a model and a thief and gives an attacked copy.

    A knob has no default in the dataclass: whatever it is, it must be in the attacked model's name.

    Attributes:
      name: key in `ATTACKS`.
      trains: whether it takes minutes, so that its product is kept.
      answers: whether it attacks answers only, and gives a callable on image batches, not a model.
      extends: name of the knob by which a longer run goes on from a shorter one, or None.
    """

    name: ClassVar[str] = ""
    trains: ClassVar[bool] = False
    answers: ClassVar[bool] = False
    extends: ClassVar[str | None] = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, low, high = getattr(self, field.name), field.metadata["low"], field.metadata["high"]
            if value is not None and (low is not None and not value >= low or high is not None and not value <= high):
                bounds = f"at least {low}" if high is None else f"on [{low}, {high}]"
                raise ValueError(f"{self.name}: expected {field.name} {bounds}, got {value}")

    def __call__(self, model: keras.Model, thief: Thief) -> Any:
        """The attacked copy; `model` stays as it was."""
        raise NotImplementedError

    @property
    def training(self) -> Training:
        """What it trains; for attacks that do."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The attack in a few words."""
        return self.name

    def with_sets(self, resolve: Callable[[str], str]) -> Attack:
        """The same attack on the image sets that `resolve` gives for its own."""
        return dataclasses.replace(self, **{field: resolve(name) for field, name in self._sets().items()})

    def image_sets(self) -> list[str]:
        """The image sets that it trains on."""
        return list(self._sets().values())

    def _sets(self):
        """{knob: the image set that it names}."""
        return {field.name: name for field in dataclasses.fields(self)
                if field.metadata["image_set"] and (name := getattr(self, field.name))}


def knob(*, help: str, low: float | None = None, high: float | None = None, cli: Any = None, none: Any = None,
         image_set: bool = False) -> Any:
    """A field of an attack.

    Args:
      help: what it is, as the command line says it.
      low, high: bounds; outside, an attack cannot be made.
      cli: the command line's default; None for a knob that has no flag.
      none: value at which the attack does nothing, where there is one.
      image_set: whether it names the image set that the thief trains on.
    """
    metadata = {"help": help, "low": low, "high": high, "cli": cli, "none": none, "image_set": image_set}
    return dataclasses.field(metadata=metadata)


def attack(name: str) -> Callable[[type[Attack]], type[Attack]]:
    """Registers a class of knobs as an attack under a name."""

    def register(cls):
        cls = dataclass(frozen=True)(cls)
        cls.name = name
        ATTACKS[name] = cls
        return cls

    return register
