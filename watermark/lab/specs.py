"""What a model is made of is its name. Pure values: no disk, no data, no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from watermark.files import digest
from watermark.recipes import Recipe, Showing

# Fields of recipes that are left out of names at these values. The values are those with which the shipped models were
# named: a default that changes later must not give an old name to a new model, so they stand here, not in the classes.
UNNAMED = {
    "fold": True, "patch": None, "optimizer": "adam", "schedule": "cosine", "clip": None,
    "average": None, "copies": 1, "strength": 1e-3, "lookahead": 0.0, "decay": 1.0, "preserving": 0.0,
    "shadow": 0, "rivals": 0.0, "textures": 0.0, "near": 0.0, "perturbing": 0.0, "projecting": 0.0,
}
FORMERLY = {"lookahead": "reach", "decay": "boost", "preserving": "others"}  # words of the shipped models' names


def named(value: Any) -> Any:
    """A value as it enters a digest: recipes as the fields that are not `UNNAMED`, tuples as lists."""
    if isinstance(value, Recipe):
        values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {FORMERLY.get(name, name): named(v) for name, v in values.items()
                if name not in UNNAMED or v != UNNAMED[name]}
    return [named(item) for item in value] if isinstance(value, tuple) else value


class Spec:
    """A model before it is made. Its name, `fields` and image sets follow from what it is made of."""

    host: str
    seed: int
    stage: str

    def made_of(self) -> dict:
        """What the model depends on beside host, stage and seed; JSON-able."""
        raise NotImplementedError

    @property
    def fields(self) -> dict:
        """All that the model depends on."""
        return self.made_of() | {"host": self.host, "stage": self.stage, "seed": self.seed}

    @property
    def name(self) -> str:
        """<host>-<stage>-<seed>-<digest of the fields>."""
        return f"{self.host}-{self.stage}-{self.seed}-{digest(self.fields, length=10)}"

    @property
    def root(self) -> Spec:
        """The first model of its history that is marked, or else the host: what rows of a table share."""
        return self

    @property
    def trained(self) -> Trained:
        """The host that its history begins with."""
        return self.parent.trained

    def with_sets(self, resolve: Callable[[str], str]) -> Spec:
        """The same, trained on the image sets that `resolve` gives for its own (not its parent's)."""
        return replace(self, train_set=resolve(self.train_set))

    def under(self, *attacks: Any) -> Spec:
        """The model after attacks, one after the other."""
        spec = self
        for attack in attacks:
            spec = Attacked(spec, attack)
        return spec


class _Descendant(Spec):
    """A spec with a parent, whose host and seed it has."""

    parent: Spec
    host = property(lambda self: self.parent.host)
    seed = property(lambda self: self.parent.seed)
    root = property(lambda self: self.parent.root)


@dataclass(frozen=True)
class Trained(Spec):
    """A host, trained phase after phase."""

    host: str
    recipes: tuple[Recipe, ...]
    train_set: str
    seed: int = 0

    stage = "host"
    trained = property(lambda self: self)

    def made_of(self) -> dict:
        """A host is the same host in every precision, or another flag would mean hours of training."""
        return {"recipe": named(self.recipes), "train_set": self.train_set}


@dataclass(frozen=True)
class Marked(Spec):
    """A host that a scheme has marked with the key of a seed."""

    parent: Trained
    recipe: Recipe
    seed: int
    train_set: str
    precision: str
    scheme: str = "ours"
    size: int | None = None  # of the key in pixels; None: the host's own
    own_key: bool = False  # no other host's
    gradient: str | None = None  # of the key; None: `kinds.Kind`'s

    host = property(lambda self: self.parent.host)
    stage = property(lambda self: f"marked-{self.scheme}")
    key_seed = property(lambda self: f"{self.host} {self.seed}" if self.own_key else self.seed)

    def made_of(self) -> dict:
        """Of the key what is not as the host's other keys have it."""
        key = {name: value for name in ("size", "own_key", "gradient") if (value := getattr(self, name))}
        return {"parent": self.parent.name, "recipe": named(self.recipe), "train_set": self.train_set,
                "precision": self.precision} | key


@dataclass(frozen=True)
class Attacked(_Descendant):
    """A model after an attack, one of `watermark.attacks.ATTACKS` with its knobs."""

    parent: Marked | Attacked | Trained
    attack: Any

    stage = property(lambda self: self.attack.name)

    def made_of(self) -> dict:
        """Every knob of the attack."""
        knobs = {field.name: named(getattr(self.attack, field.name)) for field in dataclasses.fields(self.attack)}
        return {"parent": self.parent.name, "knobs": knobs}

    def with_sets(self, resolve: Callable[[str], str]) -> Attacked:
        """The same with an attack that trains on the image sets that `resolve` gives for its own."""
        return replace(self, attack=self.attack.with_sets(resolve))

    def before(self, **knobs: Any) -> Attacked:
        """The same attack with other knobs."""
        return replace(self, attack=replace(self.attack, **knobs))


def attack_sets(spec: Spec) -> list[str]:
    """The image sets that the attacks of a model's history train on, the first attack's first."""
    return [*attack_sets(spec.parent), *spec.attack.image_sets()] if isinstance(spec, Attacked) else []


@dataclass(frozen=True)
class Seen(_Descendant):
    """A visualizer that shows a picture to a marked model's answer."""

    parent: Marked
    picture: str  # SHA-256 of its pixels
    recipe: Showing

    stage = "visualizer"

    def made_of(self) -> dict:
        """The picture's pixels and the recipe."""
        return {"parent": self.parent.name, "picture": self.picture, "recipe": named(self.recipe)}

    def with_sets(self, resolve: Callable[[str], str]) -> Seen:
        """It trains on no image set."""
        return self
