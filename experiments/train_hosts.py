"""Trains the hosts from scratch and measures them on their test sets; what is kept beside a host says what was found.

A host that the project ships, as all of `--profile=quick`, is only measured; to train it anew, move its files
`checkpoints/<host>-host-*` away before (docs/hosts.md). DnCNN takes an hour on 2 cores with AVX512-BF16, the others a
quarter of an hour to 20 minutes each, about seven times as long with AVX2 alone. Stopped or killed, training goes on
with the same command; `tensorboard --logdir=runs` shows its course, and `runs/runs/*/phase*/best.keras` is the best
model so far.

    python experiments/train_hosts.py --hosts=dncnn
    python experiments/train_hosts.py --hosts=dncnn --keep=runs/jax   # finished by train_hosts_jax.py: kept, measured
"""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
from absl import flags
from evaluate_hosts import GRID, PUBLISHED

from watermark.lab import measures, runner, scripts
from watermark.checkpoints import annotate, describe, keep
from watermark.files import atomic_write
from watermark.hosts import HOSTS, fold_batch_norm
from watermark.models import load_model
from watermark.recipes import Recipe
from watermark.states import read_history


def main(lab, options, trained=None):
    """Trains each host that is asked for, or takes it from the folder `trained`, measures it, and keeps what it is."""
    if options.stop_after is not None:
        lab = dataclasses.replace(lab, deadline=time.monotonic() + 60.0 * options.stop_after)
    for name in options.hosts or list(HOSTS):
        if trained:
            take(lab, lab.profile.host(name), Path(trained))
        spec = lab.resolve(lab.profile.host(name))
        model, measured = lab.get(spec), {}
        for row in (row for row in GRID if row["host"] == name):
            test_set, scale = row["test_set"], row["scale"]
            found = {key: round(value, 4) for key, value in measures.quality(lab, model, name, test_set, scale).items()}
            published = PUBLISHED.find(row)
            used = " ".join([lab.images.test_name(test_set), *([f"x{scale}"] if scale else [])])
            measured[used] = found | ({"published": published} if published else {})
            print(f"{name}  {used}: {found['psnr']:.2f} dB" + (f" (paper: {published['psnr']})" if published else ""))
        if points := [[row["step"], row["psnr"]] for row in course(lab, spec) if "psnr" in row]:
            _keep_course(lab, name, points)
        path, examples = lab.cache.path(spec.name), sum(phase.steps * phase.batch_size for phase in spec.recipes)
        found = {"quality": measured, "examples": examples}
        if path.is_relative_to(lab.workdir.resolve()) and describe(path) | found != describe(path):
            annotate(path, found)


def _keep_course(lab, name, points):
    with atomic_write(runner.results(lab) / "training" / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(points) + "\n")


def take(lab, spec, folder):
    """Keeps a host that train_hosts_jax.py has finished; a ValueError unless the profile would train it so."""
    path = folder / f"{spec.host}.json"
    if lab.has(spec):
        raise ValueError(f"{lab.cache.path(spec.name)} is kept already; to have the one in {folder}, move it away")
    if not path.with_suffix(".keras").exists() or path.with_suffix(".npz").exists():
        raise ValueError(f"{folder} has no finished {spec.host}; train it to its end by train_hosts_jax.py")
    told = json.loads(path.read_text())
    how, rows = told["course"], told["rows"]
    recipe = Recipe(how["steps"], how["batch_size"], how["learning_rate"], patch=how["patch"],
                    optimizer=how["optimizer"], average=how["average"] or None)
    if spec.recipes != (recipe,) or how["growth"] or len(set(how.get("scales", {"": 1}).values())) > 1:
        raise ValueError(f"{path} tells of another training than profile {lab.profile.name} has for {spec.host}: "
                         f"expected {spec.recipes}, got {how}; a host is kept under the recipe that made it")
    model = load_model(path.with_suffix(".keras"))
    shapes, expected = ([w.shape for w in M.get_weights()] for M in (model, fold_batch_norm(HOSTS[spec.host].build())))
    if shapes != expected:
        raise ValueError(f"{path.with_suffix('.keras')} is no folded {spec.host}")
    keep(model, lab.cache.folder / f"{spec.name}.keras", spec.fields | {
        "arithmetic": "bfloat16" if how["bfloat16"] else "float32", "seconds": rows[-1]["seconds"], "device": "JAX"})
    _keep_course(lab, spec.host, [[row["step"], float(np.mean([psnr for key, psnr in row.items() if key.startswith(
        "psnr") and key.endswith("_average")]))] for row in rows])


def course(lab, spec):
    """The history of a host's training in this work folder, phases in one row of steps; [] if it came as it is."""
    rows, before = [], 0
    for phase, recipe in enumerate(spec.recipes):
        # A phase may have been trained for a host of fewer phases.
        shorter = [dataclasses.replace(spec, recipes=spec.recipes[:count])
                   for count in range(len(spec.recipes), phase, -1)]
        histories = (read_history(lab.folder(one) / f"phase{phase}") for one in shorter)
        rows += [row | {"step": before + row["step"]} for row in next(filter(None, histories), [])]
        before += recipe.steps
    return rows


if __name__ == "__main__":
    flags.DEFINE_string("keep", None, "folder of train_hosts_jax.py whose finished hosts are kept in place of training")
    scripts.run_main(lambda lab, options: main(lab, options, flags.FLAGS.keep))
