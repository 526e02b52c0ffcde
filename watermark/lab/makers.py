"""How each kind of spec becomes a model: one function a kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from watermark import blackbox, inference
from watermark.attacks import Thief
from watermark.files import locked
from watermark.hosts import fold_batch_norm, get_host
from watermark.lab.specs import Attacked, Marked, Seen, Spec, Trained
from watermark.schemes import OURS, get_scheme
from watermark.states import read_history
from watermark.tasks import TASKS, Task, task_alone
from watermark.training import Run, clone, fit
from watermark.visualizer import train_visualizer

if TYPE_CHECKING:
    from watermark.lab.lab import Lab

SMALL = 256  # pixels; larger test images are left out of the validation of hosts
EVERY = 100  # between the seeds of the phases of a host's training
OWNER = 1000  # added to an owner's seeds, so that a mark sees other batches than its host did


def task_of(host: str) -> Task:
    """The task of a host."""
    return TASKS[get_host(host).task]


def train(lab: Lab, spec: Trained, folder: Path) -> keras.Model:
    """A host, trained phase after phase; continues from a kept host of fewer phases."""
    images, task = lab.test_images(spec.host), task_of(spec.host)
    small = [image for image in images if max(image.shape) <= SMALL] or images[:1]  # a few seconds a look

    def validate(M):
        return {"psnr": float(inference.evaluate(M, task, small, precision=lab.compute.precision).mean())}

    M, done = _earlier(lab, spec)
    for phase, recipe in list(enumerate(spec.recipes))[done:]:
        run = Run(folder / f"phase{phase}", lab.compute, f"training {spec.host}, phase {phase + 1}", validate,
                  best="psnr", deadline=lab.deadline)
        fit(M, task_alone, lab.batches(spec.host, spec.train_set, recipe, spec.seed + EVERY * phase),
            replace(recipe, clip=get_host(spec.host).clip), run)
    return M


def _earlier(lab, spec):
    """(model, phases behind it): a kept host of the longest beginning of the recipes, or an untrained one."""
    for done in range(len(spec.recipes) - 1, 0, -1):
        earlier = replace(spec, recipes=spec.recipes[:done])
        if lab.has(earlier):
            return clone(lab.get(earlier)), done
    keras.utils.set_random_seed(spec.seed)
    with lab.compute.placement.scope():
        M = get_host(spec.host).build()
        return fold_batch_norm(M) if spec.recipes[0].fold else M, 0


def mark(lab: Lab, spec: Marked, folder: Path, key: Any = None, **watch) -> keras.Model:
    """A marked host; `key` is the spec's, where it is there already, `watch` are further fields of the `Run`."""
    run = Run(folder, lab.compute, f"embedding into {spec.host}, seed {spec.seed}", deadline=lab.deadline)
    batches = lab.batches(spec.host, spec.train_set, spec.recipe, OWNER + spec.seed)
    key = lab.initial_key(spec) if key is None else key
    return get_scheme(spec.scheme).embed(lab.get(spec.parent), key, batches, spec.recipe, replace(run, **watch))


def attack(lab: Lab, spec: Attacked, folder: Path) -> keras.Model:
    """What an attack makes of a model. A longer run goes on from a shorter one's last step, where the attack allows."""
    extends, shared = spec.attack.extends, shared_folder(spec, folder)
    with locked(shared):
        course = read_history(shared) if extends else []
        fits = not course or course[-1]["step"] <= getattr(spec.attack, extends)
        return spec.attack(lab.get(spec.parent), _thief(lab, spec, shared if fits else folder))


def shared_folder(spec: Spec, folder: Path) -> Path:
    """Where the state is kept that a training shares with longer ones of the same; else `folder`, its own."""
    extends = spec.attack.extends if isinstance(spec, Attacked) else None
    return folder.with_name(spec.before(**{extends: 0}).name) if extends else folder


def _thief(lab, spec, folder):
    root = spec.root
    scheme = get_scheme(getattr(root, "scheme", OURS))
    return Thief(
        batches=lambda train_set, recipe, seed: lab.batches(spec.host, train_set, recipe, seed),
        key=lambda seed: lab.initial_key(replace(root, seed=seed)),
        embed=scheme.embed, run=Run(folder, lab.compute, deadline=lab.deadline), seed=spec.seed)


def teach(lab: Lab, spec: Seen, folder: Path) -> keras.Model:
    """A visualizer."""
    key = lab.key(spec.parent)
    unmarked = blackbox.answer(lab.get(spec.trained), key)
    run = Run(folder, lab.compute, f"visualizer of {spec.host}, seed {spec.seed}", deadline=lab.deadline)
    return train_visualizer(key, lab.picture(spec.picture), unmarked=unmarked, recipe=spec.recipe, run=run)


MAKERS = {Trained: train, Marked: mark, Attacked: attack, Seen: teach}


def make(lab: Lab, spec: Spec, folder: Path) -> keras.Model:
    """The model of a spec."""
    return MAKERS[type(spec)](lab, spec, folder)
