"""Marks and attacks whose trainings were written down by `watermark.lab.elsewhere`, made one after the other in JAX."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np

from watermark.checkpoints import kept
from watermark.errors import WatermarkError
from watermark.files import atomic_write, write
from watermark.hosts import HOSTS, fold_batch_norm
from watermark.jaxtraining import JOBS, pools
from watermark.jaxtraining.aims import Aim, Mark, Task
from watermark.jaxtraining.loop import Course, Pace, Training
from watermark.recipes import Embedding, Recipe

SCALES = {2: 1.0, 3: 1.0, 4: 1.0}
# What a training is told by.
FIELDS = {"parent": str, "host": str, "train_set": str, "seed": int, "patch": int, "bfloat16": bool, "recipe": dict,
          "files": dict, "outputs": dict}


class JobsError(WatermarkError, ValueError):
    """A folder of jobs that cannot be read."""


def run(folder: str | Path, data_dir: str | Path, out: str | Path, pace: Pace) -> bool:
    """Makes the models of the jobs in `folder`, in their order; whether all are there.

    In `out`: of each model "<name>.keras" and "<name>.json", how it was made; "<first name>.npz", the state of the
    training that the deadline of `pace` stopped, with which the same call goes on.

    Raises:
      JobsError: where the folder is not what `watermark.lab.elsewhere.write` has written, or not all of it.
    """
    folder, out, pool = Path(folder), Path(out), cache(_pool(data_dir))
    jobs, done = _jobs(folder / JOBS), True
    for number, job in enumerate(jobs, 1):
        missing = [name for name in job["outputs"] if not kept(out / f"{name}.keras")]
        if missing and time.monotonic() < pace.deadline:
            if parent := _parent(folder, out, job["parent"]):
                missing = _train(job, parent, pool, folder, out, pace)
                print(f"{number} of {len(jobs)}: {', '.join(job['outputs'])}{': goes on later' if missing else ''}")
            elif done:  # all before it are made, and none is its parent
                raise JobsError(f"{folder} has no {job['parent']}.keras, which {', '.join(missing)} begin with; copy "
                                "the whole folder that experiments/jobs.py has written")
        done = done and not missing
    return done


def _jobs(path):
    """The trainings of a file, each with all its `FIELDS`."""
    try:
        jobs = json.loads(path.read_text())
        if not isinstance(jobs, list):
            raise TypeError(type(jobs).__name__)
        for job in jobs:
            for name, kind in FIELDS.items():
                if not isinstance(job[name], kind):
                    raise TypeError(f"{name}: {job[name]!r}")
            _recipe(job), HOSTS[job["host"]]  # or raise
        return jobs
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobsError(f"{path}: expected what experiments/jobs.py writes ({error!r})") from error


def _recipe(job):
    return (Embedding if job["files"] else Recipe)(**job["recipe"])


def _parent(folder, out, name):
    return next((path for path in (out / f"{name}.keras", folder / f"{name}.keras") if path.exists()), None)


def _pool(data_dir):
    return lambda name, host, patch: pools.of_set(data_dir, name, HOSTS[host].task, patch, SCALES)


def _train(job: dict, parent: Path, pool: Callable, folder: Path, out: Path, pace: Pace) -> list[str]:
    """Trains one job; the names of the models that are still missing."""
    model = keras.saving.load_model(parent, compile=False, safe_mode=True)
    recipe = _recipe(job)
    model = fold_batch_norm(model) if job["files"] else model
    course = Course(recipe.steps, recipe.batch_size, job["patch"], recipe.learning_rate, recipe.optimizer, recipe.clip,
                    recipe.average or 0.0, (), job["bfloat16"], job["seed"], recipe.schedule)
    state = out / f"{next(iter(job['outputs']))}.npz"
    training = Training(model, pool(job["train_set"], job["host"], job["patch"]), course, state,
                        _aim(job, recipe, model, folder))
    left = list(job["outputs"])
    for name, steps in job["outputs"].items():
        if not training.run(lambda M: {}, replace(pace, measure=float("inf")), steps):
            return left
        if not kept(out / f"{name}.keras"):
            if training.step != steps:  # a row came in between, or a model that was there was removed
                raise JobsError(f"{state} is of step {training.step}, past the {steps} of {name}; delete it, and this "
                                "job is trained from its beginning")
            with atomic_write(out / f"{name}.keras") as temporary:
                training.finished().save(temporary)
            about = {"seconds": round(training.seconds, 2), "rows": training.rows, "steps": steps,
                     "device": f"{jax.devices()[0].device_kind}, JAX {jax.__version__}",
                     "arithmetic": "bfloat16" if job["bfloat16"] else "float32"}
            write(out / f"{name}.json", json.dumps(about) + "\n")
        left.remove(name)
    state.unlink(missing_ok=True)
    return left


def _aim(job: dict, recipe: Any, model: keras.Model, folder: Path) -> Aim:
    if not job["files"]:
        return Task()
    arrays = {name: _arrays(folder / file) for name, file in job["files"].items()}
    start = [np.array(v.value) for v in model.trainable_variables]
    others, rivals = (arrays.get(name, {}) for name in ("others", "rivals"))
    return Mark(recipe, arrays["key"]["K"], arrays["key"]["S"], start, others.get("K"),
                (rivals["K"], rivals["S"]) if rivals else None)


def _arrays(path):
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise JobsError(f"{path}: expected arrays that experiments/jobs.py writes ({error!r})") from error
