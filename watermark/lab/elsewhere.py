"""Trainings that another machine makes, without TensorFlow: written down for it, and their models taken back.

A model is kept under the name of its spec, wherever it was trained; what lies beside it says on which device. Draws
are not TensorFlow's: another model of the same recipe, not the same weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from watermark import checkpoints, embedding, files, thieves
from watermark.errors import WatermarkError
from watermark.hosts import fold_batch_norm, get_host
from watermark.jaxtraining import JOBS
from watermark.lab.lab import Lab
from watermark.lab.makers import OWNER
from watermark.lab.runner import Options, Trials
from watermark.lab.specs import Attacked, Marked, Spec, Trained
from watermark.lab.tables import Table
from watermark.models import load_model
from watermark.recipes import Embedding, Recipe


class ElsewhereError(WatermarkError, ValueError):
    """Models from elsewhere that are not those that were asked for."""


def missing(lab: Lab, tables: Iterable[Table], options: Options) -> list[Spec]:
    """Models that the trials without a record need and that the other machine can make, parents first."""
    found: dict[str, Spec] = {}

    def add(spec):
        """Whether the model is there, or will be."""
        begins = not isinstance(spec, Marked | Attacked) or add(spec.parent)
        spec = lab.resolve(spec)
        if begins and not lab.has(spec) and _trains(spec):
            found[spec.name] = spec
        return lab.has(spec) or spec.name in found

    for table in tables:
        trials = Trials(lab, table, options)
        for row in trials.rows:
            for seed in trials.seeds(row):
                if not trials.record(row, seed):
                    for spec in trials.subjects(row, seed).values():
                        add(table.measure.needs(spec))
    return list(found.values())


def _trains(spec):
    """Whether it is an embedding by our scheme, or fine-tuning of a mark, of a folded network."""
    root = spec.root
    if not (isinstance(root, Marked) and root.recipe.fold):
        return False
    if isinstance(spec, Marked):
        return isinstance(spec.recipe, Embedding)
    if not (isinstance(spec, Attacked) and spec.attack.trains):
        return False
    _, recipe, _, key = spec.attack.training
    return key is None or isinstance(recipe, Embedding)


def write(lab: Lab, specs: Sequence[Spec], folder: str | Path) -> int:
    """Writes the trainings down, with the keys and the networks that they begin with; how many models they give.

    The folder holds keys, which are secrets. An attack that goes on where a shorter one ended is one training.
    """
    folder, jobs = Path(folder), {}
    folder.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        name, steps, job = _job(lab, spec, folder)
        jobs.setdefault(name, job | {"outputs": {}})["outputs"][spec.name] = steps
        if steps > jobs[name]["recipe"]["steps"]:
            jobs[name]["recipe"] = job["recipe"]
    for job in jobs.values():
        job["outputs"] = dict(sorted(job["outputs"].items(), key=lambda item: item[1]))
    files.write(folder / JOBS, json.dumps(list(jobs.values()), indent=1) + "\n")
    return len(specs)


def _job(lab, spec, folder):
    """(name of the training, steps until this model, the training)."""
    if path := lab.cache.path(spec.parent.name):
        with files.atomic_write(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
    host, name = get_host(spec.host), spec.name
    if isinstance(spec, Marked):
        train_set, recipe, seed, key = spec.train_set, spec.recipe, OWNER + spec.seed, lab.initial_key(spec)
    else:
        train_set, recipe, seed, key = spec.attack.training
        seed += spec.seed
        if key is not None:
            key = lab.initial_key(dataclasses.replace(spec.root, seed=key + spec.seed))
        if spec.attack.extends:
            name = spec.before(**{spec.attack.extends: 0}).name
    return name, recipe.steps, {
        "parent": spec.parent.name, "host": host.name, "train_set": train_set, "seed": seed,
        "patch": recipe.patch or host.patch, "bfloat16": spec.root.precision == "bfloat16",
        "recipe": dataclasses.asdict(recipe), "files": {} if key is None else _files(lab, spec, key, recipe, folder)}


def _files(lab, spec, key, recipe, folder):
    """{what: file} of the key, of other keys whose answers are held, and of rivals' keys."""
    host = lab.get(spec.trained)
    arrays = {"key": dict(zip("KS", embedding.pair(host, key), strict=True))}
    if recipe.preserving:
        arrays["others"] = {"K": embedding.others(host, key, recipe)}
    if recipe.rivals:
        arrays["rivals"] = dict(zip("KS", thieves.rivals(host, key), strict=True))
    return {what: _written(folder, what, found) for what, found in arrays.items()}


def _written(folder, what, arrays):
    """The file that holds some arrays; one file for the same arrays."""
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
    content = b"".join(name.encode() + value.tobytes() for name, value in arrays.items())
    path = folder / f"{what}-{hashlib.sha256(content).hexdigest()[:12]}.npz"
    if not path.exists():
        with files.atomic_write(path, mode=0o600) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    return path.name


def take(lab: Lab, specs: Sequence[Spec], folder: str | Path) -> list[Spec]:
    """Keeps those models of `specs` that the other machine has made; which they are.

    Raises:
      ElsewhereError: for a folder that is not there, a model of another network, one that is not finite, or one of
        which it is not told how it was made.
    """
    folder, taken = Path(folder), []
    if not folder.is_dir():
        raise ElsewhereError(f"{folder}: no such folder; expected the one that train_jobs_jax.py has written")
    for spec in specs:
        path = folder / f"{spec.name}.keras"
        if not checkpoints.kept(path):
            continue
        model = _fitting(path, spec)
        with _told(path.with_suffix(".json")) as told:
            known = {name: told[name] for name in ("seconds", "device", "arithmetic")}
        lab.cache.get(spec.name, lambda model=model, spec=spec, known=known: (model, spec.fields | known))
        taken.append(spec)
    return taken


def take_host(lab: Lab, spec: Trained, folder: str | Path) -> list[dict]:
    """Keeps a host that train_hosts_jax.py has finished; its course, a row a look.

    Raises:
      ElsewhereError: where the host is kept already, and for one that is not trained to its end, or otherwise than
        `spec` says, or is of another network, or not finite.
    """
    path = Path(folder) / f"{spec.host}{f'-{spec.seed}' if spec.seed else ''}.keras"
    if lab.has(spec):
        raise ElsewhereError(f"{lab.cache.path(spec.name)} is kept already; to have the one in {folder}, move it away")
    if not path.exists() or path.with_suffix(".npz").exists():
        raise ElsewhereError(f"{folder} has no finished {path.stem}; train it to its end by train_hosts_jax.py")
    with _told(path.with_suffix(".json")) as told:
        how, rows, recipes = told["course"], told["rows"], _recipes(told["course"])
        known = {"arithmetic": "bfloat16" if how["bfloat16"] else "float32", "seconds": rows[-1]["seconds"],
                 "device": "JAX"}
    if (spec.recipes, spec.seed) != (recipes, how["seed"]):
        raise ElsewhereError(f"{path} is of another training than profile {lab.profile.name} has for {spec.host}: "
                             f"expected {spec.recipes} and seed {spec.seed}, got {how}; a host is kept under the "
                             "recipe that made it")
    model = _fitting(path, spec)
    lab.cache.get(spec.name, lambda: (model, spec.fields | known))
    return rows


def _recipes(how):
    """What a `jaxtraining.loop.Course` is as recipes; none for batches that grow and scales of unequal weight."""
    if how["growth"] or len(set(how.get("scales", {"": 1}).values())) > 1:
        return ()
    return (Recipe(how["steps"], how["batch_size"], how["learning_rate"], patch=how["patch"],
                   optimizer=how["optimizer"], average=how["average"] or None),)


def _fitting(path, spec):
    """The model of a file, if it is a folded network of the spec's host, with finite weights."""
    model = load_model(path)
    weights, expected = (M.get_weights() for M in (model, fold_batch_norm(get_host(spec.host).build())))
    if [w.shape for w in weights] != [w.shape for w in expected]:
        raise ElsewhereError(f"{path} is no folded {spec.host}")
    if not all(np.isfinite(w).all() for w in weights):
        raise ElsewhereError(f"{path} has weights that are not finite")
    return model


@contextlib.contextmanager
def _told(path):
    """What the other machine tells of a model in a JSON file; an ElsewhereError where it lacks what is looked up."""
    try:
        yield json.loads(path.read_text())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ElsewhereError(f"{path}: expected what train_hosts_jax.py and train_jobs_jax.py write ({error!r}); fetch "
                             "it again") from error
