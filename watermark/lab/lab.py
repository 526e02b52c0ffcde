"""The lab: specs become models, made once and kept."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from cachetools import LRUCache

from watermark.lab import makers
from watermark import checkpoints, compute, states
from watermark.checkpoints import CheckpointError
from watermark.compute import Compute
from watermark.hosts import get_host
from watermark.lab.cache import Cache
from watermark.lab.images import TRAIN, Images
from watermark.lab.profiles import Profile, sha256_of
from watermark.lab.specs import Attacked, Marked, Spec, Trained
from watermark.recipes import Recipe
from watermark.schemes import get_scheme
from watermark.training import Batches, identified

LOADED = 4  # models in memory, those asked for last: rows of a table share them


@dataclass(frozen=True, eq=False)
class Lab:
    """Makes and keeps what specs name.

    Attributes:
      profile: a `Profile`, whose methods give specs.
      images: the image sets.
      cache: of models; states of trainings lie in `runs`, beside it.
      workdir: folder of `checkpoints/`, `results/` and `runs/`.
      compute: precision and so on.
      deadline: `time.monotonic()` at which trainings stop, to be resumed later; or None.
      log: prints a line for the user.
    """

    profile: Profile
    images: Images
    cache: Cache
    workdir: Path
    compute: Compute = Compute()
    deadline: float | None = None
    log: Callable[[str], object] = print
    _loaded: LRUCache = field(default_factory=lambda: LRUCache(LOADED), init=False, repr=False)

    @classmethod
    def at(cls, workdir: str | Path, profile: Profile, compute: Compute | None = None, **images) -> Lab:
        """The lab of a work folder; `images` are attributes of `Images`, whose `log` is the lab's too."""
        workdir, compute = Path(workdir), compute or Compute(profile.precision)
        return cls(replace(profile, precision=compute.precision), Images(sample=profile.sample, **images),
                   Cache(workdir / "checkpoints"), workdir, compute, log=images.get("log", print))

    def __getstate__(self):
        """For another process, maybe on another machine that has the same folders: no models, no images, no clock."""
        there = {"workdir": self.workdir.resolve(), "images": self.images.elsewhere(), "log": print, "deadline": None,
                 "cache": replace(self.cache, folder=self.cache.folder.resolve()), "_loaded": LRUCache(LOADED)}
        return self.__dict__ | there

    def has(self, spec: Spec) -> bool:
        """Whether the model is there already."""
        return self.cache.path(spec.name) is not None

    def ready(self, spec: Spec) -> bool:
        """Whether the model can be had without training, and the mark that it comes from, whose key is asked for."""
        found = self._found(spec)
        if found != spec and self.resolve(spec) != found:  # the sets are there, that it was made on stand-ins for
            return False
        spec = found
        made = isinstance(spec, Attacked) and not spec.attack.trains and self.ready(spec.parent)
        return made or self.has(spec) and self.has(spec.root)

    def nearest(self, spec: Spec | None) -> Spec | None:
        """The nearest model of a spec's history that is kept, itself before all; None where there is none."""
        return spec if spec is None or self.has(spec) else self.nearest(getattr(spec, "parent", None))

    def arithmetic(self, spec: Spec) -> str:
        """That in which a model that is kept was trained."""
        return checkpoints.describe(self.cache.path(spec.name)).get("arithmetic", self.compute.effective)

    def _found(self, spec):
        """`resolve` by the models that are there, without a look for the image sets, which may be downloads."""
        if self.has(spec):
            return spec
        if parent := getattr(spec, "parent", None):
            spec = replace(spec, parent=self._found(parent))
        instead = spec.with_sets(lambda name: TRAIN)
        return instead if self.has(instead) else spec

    def resolve(self, spec: Spec) -> Spec:
        """`spec`, or the same on stand-ins for the image sets that cannot be had, where it has yet to be made."""
        if self.has(spec):
            return spec
        if parent := getattr(spec, "parent", None):
            spec = replace(spec, parent=self.resolve(parent))
        return spec.with_sets(self.images.train_name)

    def get(self, spec: Spec) -> Any:
        """The model of a spec; what an attack on answers makes is a callable on image batches."""
        spec = self.resolve(spec)
        if spec.name not in self._loaded:
            made = isinstance(spec, Attacked) and not spec.attack.trains
            self._loaded[spec.name] = makers.make(self, spec, self.folder(spec)) if made else self._kept(spec)
        return self._loaded[spec.name]

    def _kept(self, spec):
        try:
            self._check_parent(spec)
            return self.cache.get(spec.name, functools.partial(self._made, spec))
        except CheckpointError as error:
            if isinstance(spec, Trained):  # hours of training are not started unasked
                raise
            self.get(spec.parent)  # where that is what is damaged, it says so, and nothing of this one is lost
            self.log(f"NOTE: {error}; it is made again")
            self.cache.forget(spec.name)
            return replace(self.cache, shipped=()).get(spec.name, functools.partial(self._made, spec))

    def _check_parent(self, spec):
        """Refuses a model that is kept and was made from another parent of the name: that may have been made again."""
        path = self.cache.path(spec.name)
        told = checkpoints.describe(path).get("parent_weights") if path else None
        if told and told != identified(self.get(spec.parent)):
            for folder in (self.folder(spec), makers.shared_folder(spec, self.folder(spec))):
                shutil.rmtree(folder, ignore_errors=True)  # what is kept of its training is of that parent, too
            raise CheckpointError(f"{path} was made from another {spec.parent.name} than the one that is there")

    def _made(self, spec):
        folder = self.folder(spec)
        model = makers.make(self, spec, folder)
        kept = [*folder.rglob("state.npz")] or [*makers.shared_folder(spec, folder).rglob("state.npz")]
        known = {"seconds": sum(states.seconds(path.parent) for path in kept),
                 "arithmetic": self.compute.effective, "device": compute.device(), "versions": compute.versions()}
        if parent := getattr(spec, "parent", None):
            known["parent_weights"] = identified(self.get(parent))
        return model, spec.fields | known

    def folder(self, spec: Spec) -> Path:
        """Where the state of a training is kept."""
        return self.workdir / "runs" / spec.name

    def initial_key(self, mark: Marked) -> Any:
        """The key of a mark, as it is before embedding."""
        return get_scheme(mark.scheme).make_key(mark.key_seed, self.profile.kind(mark), self.get(mark.parent))

    def key(self, mark: Marked) -> Any:
        """The key of a mark, its S updated."""
        return get_scheme(mark.scheme).update_key(self.initial_key(mark), self.get(mark))

    def batches(self, host: str, train_set: str, recipe: Recipe, seed: int) -> Batches:
        """Training batches of a host's task."""
        return makers.task_of(host).batches(self.images.train(train_set), seed=seed, batch_size=recipe.batch_size,
                                            size=recipe.patch or get_host(host).patch)

    def test_images(self, host: str, test_set: str | None = None) -> list:
        """A test set, by default the one that the robustness tables measure PSNR on, cut as the profile says."""
        side = self.profile.crop
        return [image[:side, :side] for image in self.images.test(test_set or get_host(host).test_sets[0])]

    def picture(self, digest: str) -> np.ndarray:
        """The copyright image of a SHA-256."""
        for image in self.images.copyright().values():
            if sha256_of(image) == digest:
                return image
        raise ValueError(f"no copyright image has the SHA-256 {digest}; --pictures names another set")

    def visualizer(self, mark: Marked, picture: np.ndarray) -> keras.Model:
        """The visualizer of a marked model's key for a picture."""
        return self.get(self.profile.seen(mark, picture))
