"""How much an experiment spends: `smoke` to see it run, `quick` for a small machine, `paper` for the paper's own.

The only place where a row's axes (host, scheme, λ, size, epochs, data, keys) become specs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace

import numpy as np

from watermark.attacks import Finetune, Overwrite
from watermark.attacks.finetuning import LEARNING_RATE
from watermark.hosts import HOSTS, get_host
from watermark.kinds import Kind
from watermark.lab.specs import Marked, Seen, Trained
from watermark.recipes import EPOCH, PAPER, VISUALIZER, Embedding, Recipe, Showing
from watermark.schemes import OURS, UNMARKED, get_scheme

# The thief's seeds lie apart from the owner's: of the batches, and between the keys of one after the other. Records of
# five further keys were made with the same order of batches in every round; it stays until they are made again.
FINETUNING, OVERWRITING, KEYS = 2000, 3000, 500
# Rates of fine-tuning: "paper" moves a network about as far as 1e-4 moves one with batch norms, whose kernels are
# about twice as large as ours, which were trained folded (measured in docs/recipe.md); "hard" is 1e-4 in any form.
FOLDED = 0.5
RATES = {"paper": FOLDED, "hard": 1.0}  # of the learning rate, where batch norms are folded
# What makes of any recipe of ours the paper's: its optimizer, lambda constant, nothing ahead and no other keys held.
PLAIN = {"optimizer": "adam"} | {field.name: field.default for field in fields(Embedding)
                                 if field.name not in ("copies", "strength", *(own.name for own in fields(Recipe)))}


@dataclass(frozen=True)
class Profile:
    """How much each kind of work spends.

    Attributes:
      name: key in `PROFILES`, and in every scheme's RECIPES.
      hosts: {host: how it is trained, phase after phase}.
      longer: the same of hosts that are trained further than those that marks and tables are of (docs/hosts.md).
      trials: seeds per row.
      first_seed: the first of them.
      own_keys: whether each host has keys of its own; else the hosts of a kind share one a seed.
      gradient: which makes S0 of super-resolution keys, if not `kinds.Kind`'s.
      large: side of S in pixels above which a capacity table's marks take fewer steps, in proportion.
      adam: the learning rate of marks by the paper's loss, for which other recipes' may not serve (docs/recipe.md).
      haste: what a number of steps that an experiment states is divided by.
      epoch: what the attacks take for an epoch, in steps of as many patches as an embedding's.
      visualizer: how visualizers are trained.
      null_keys: fresh keys behind each p-value.
      crop: side in pixels that test images are cut to, or None.
      sample: whether the bundled images may stand in for a set that cannot be had.
      precision: of every training, see `watermark.compute.Compute`; hosts' names leave it out.
    """

    name: str
    hosts: dict
    trials: int
    epoch: int = 20
    haste: int = 1
    visualizer: Showing = VISUALIZER
    null_keys: int = 1000
    crop: int | None = None
    sample: bool = True
    precision: str = "bfloat16"
    first_seed: int = 0
    own_keys: bool = False  # the marks that ship were made without
    gradient: str | None = None  # likewise
    large: int = 600  # the largest there is: none
    adam: float = 3e-4
    longer: dict = field(default_factory=dict)

    @property
    def seeds(self) -> range:
        """Those of a row's trials."""
        return range(self.first_seed, self.first_seed + self.trials)

    def host(self, name: str, seed: int = 0) -> Trained:
        """An unmarked host; another seed, another initialisation."""
        host = get_host(name)
        return Trained(host.name, self.hosts[host.name], host.train_set, seed)

    def mark(self, host: str, seed: int, scheme: str = OURS, **changes) -> Marked:
        """The marked model of a trial.

        `changes` are of the profile's recipe, or `recipe` in its place; or of the key: `size` in pixels, `gradient`.
        """
        size, gradient, recipe = (changes.pop(name, None) for name in ("size", "gradient", "recipe"))
        gradient = gradient or (self.gradient if get_host(host).scale > 1 else None)
        recipe = replace(recipe or get_scheme(scheme).recipe(self.name, _kind(host, size, gradient)), **changes)
        size = None if size == get_host(host).trigger else size  # one mark, one name
        gradient = None if gradient == Kind.gradient else gradient
        parent = self.host(host)
        return Marked(parent, recipe, seed, parent.train_set, self.precision, scheme, size, self.own_keys, gradient)

    def sized(self, host: str, seed: int, size: int, scheme: str = OURS) -> Marked:
        """The mark of a capacity table, whose S has `size` pixels a side; see `large`."""
        mark = self.mark(host, seed, scheme, size=size // get_host(host).scale)
        steps = mark.recipe.steps * self.large // max(size, self.large)
        return replace(mark, recipe=replace(mark.recipe, steps=steps))

    def plain(self, host: str, seed: int, strength: float) -> Marked:
        """A mark by the paper's loss, Eq. (4), with a constant lambda."""
        return self.mark(host, seed, **PLAIN, learning_rate=self.adam, strength=strength)

    def model(self, host: str, seed: int, scheme: str, **changes) -> Trained | Marked:
        """The marked model of a trial, or the host itself where no scheme marks it."""
        return self.host(host) if scheme == UNMARKED else self.mark(host, seed, scheme, **changes)

    def kind(self, mark: Marked) -> Kind:
        """The kind of a marked model's key."""
        return _kind(mark.host, mark.size, mark.gradient)

    def finetuning(self, mark: Marked, epochs: int, new: bool = False, rate: str = "hard") -> Finetune:
        """A thief's fine-tuning on the mark's own data, or on new ones; `rate`: one of `RATES`."""
        return self._finetuning(mark, epochs * self.epoch, new, rate)

    def finetuning_steps(self, mark: Marked, steps: int, new: bool = False, rate: str = "hard") -> Finetune:
        """The same of a length that an experiment states in steps."""
        return self._finetuning(mark, max(1, steps // self.haste), new, rate)

    def _finetuning(self, mark, steps, new, rate):
        host, share = get_host(mark.host), RATES[rate]
        share = share if mark.recipe.fold and host.norms else 1.0
        return Finetune(steps, LEARNING_RATE * share, mark.recipe.batch_size, mark.recipe.patch,
                        host.other_set if new else host.train_set, FINETUNING)

    def overwriting(self, mark: Marked, keys: int) -> list[Overwrite]:
        """`keys` further keys, one after the other, each by the mark's own recipe."""
        return [Overwrite(KEYS * (i + 1), mark.recipe, mark.train_set, OVERWRITING) for i in range(keys)]

    def seen(self, mark: Marked, picture: np.ndarray) -> Seen:
        """The visualizer that shows `picture`, uint8 [P, Q], to the key of a marked model."""
        return Seen(mark, sha256_of(picture), self.visualizer)


def sha256_of(picture: np.ndarray) -> str:
    """What a copyright image, uint8 [P, Q], is named by in records."""
    return hashlib.sha256(np.ascontiguousarray(picture)).hexdigest()


def _kind(host, size, gradient):
    host = get_host(host)
    return Kind(host.task, size or host.trigger, host.scale, gradient=gradient or Kind.gradient)


def _muon(steps, learning_rate=2e-3, average=None):
    # 40x40 patches see the padding nearly everywhere (the receptive fields are 35 and more), whole images hardly do.
    return Recipe(steps, 6, learning_rate, patch=64, optimizer="muon", average=average)


QUICK = {
    "dncnn": (_muon(10_000), _muon(12_000, 1e-3)),
    "red": (_muon(8000),),
    "vdsr": (_muon(6000),),
    "srdncnn": (_muon(6000),),
}
QUICK_LONGER = {
    "red": (*QUICK["red"], _muon(25_000, 1.5e-3, average=0.999), _muon(12_000, 1.2e-3, average=0.999)),
}
SMOKE = (Recipe(3, 4, 1e-3, optimizer="muon"), Recipe(2, 2, 1e-3, patch=48))

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", dict.fromkeys(HOSTS, SMOKE), trials=1, epoch=1, haste=100, null_keys=9, crop=48,
                visualizer=replace(VISUALIZER, steps=2), longer={"dncnn": (*SMOKE, Recipe(1, 2, 1e-3, average=0.5))}),
        Profile("quick", QUICK, trials=3, large=160, longer=QUICK_LONGER),
        # DnCNN's own recipe, or near it; VDSR's is SGD, batches of 64, no batch norm.
        Profile("paper", dict.fromkeys(HOSTS, (Recipe(50 * EPOCH, 128, 1e-3, fold=False),)), trials=30, epoch=EPOCH,
                sample=False, own_keys=True, adam=PAPER.learning_rate, gradient="corner_sobel_xy_8bit",
                visualizer=replace(VISUALIZER, optimizer="adam")),
    )
}


def get_profile(name: str) -> Profile:
    """`PROFILES[name]`, or a ValueError that lists the choices."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose from {', '.join(PROFILES)}")
    return PROFILES[name]
