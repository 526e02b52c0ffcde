"""Trains the hosts from scratch and measures them on their test sets; what is kept beside a host says what was found.

A host that the project ships, as all of `--profile=quick`, is only measured; to train it anew, move its files
`checkpoints/<host>-host-*` away before (docs/hosts.md). DnCNN takes an hour on 2 cores with AVX512-BF16, the others a
quarter of an hour to 20 minutes each, about seven times as long with AVX2 alone. Stopped or killed, training goes on
with the same command; `tensorboard --logdir=runs` shows its course, and `runs/runs/*/phase*/best.keras` is the best
model so far.

    python experiments/train_hosts.py --hosts=dncnn
    python experiments/train_hosts.py --hosts=red --seed=1            # the second RED of pairs_uniqueness.py
    python experiments/train_hosts.py --hosts=dncnn --keep=runs/jax   # finished by train_hosts_jax.py: kept, measured
    python experiments/train_hosts.py --hosts=red --longer            # only measured, for it ships; anew 90 minutes
"""

import dataclasses
import json

import numpy as np
from absl import flags
from evaluate_hosts import GRID, PUBLISHED

from watermark.lab import elsewhere, measures, runner, scripts
from watermark.checkpoints import annotate, describe
from watermark.files import write
from watermark.lab.cache import LONGER
from watermark.states import read_history


def main(lab, options, trained=None, seed=0, longer=False):
    """Trains each host that is asked for, or takes it from the folder `trained`, measures it, and keeps what it is.

    Another seed, another initialisation; `longer`, the hosts of `Profile.longer`, kept in a folder of their own.
    """
    if longer:
        lab = _of_longer(lab, options.hosts)
    for name in options.hosts or list(lab.profile.hosts):
        spec = lab.profile.host(name, seed)
        file = "-".join([name, *([str(seed)] if seed else []), *([LONGER] if longer else [])])
        if trained:
            _keep_course(lab, file, [[row["step"], _average(row)] for row in elsewhere.take_host(lab, spec, trained)])
        spec = lab.resolve(spec)
        model, measured = lab.get(spec), {}
        for row in (row for row in GRID if row["host"] == name):
            test_set, scale = row["test_set"], row["scale"]
            found = {key: round(value, 4) for key, value in measures.quality(lab, model, name, test_set, scale).items()}
            published = PUBLISHED.find(row)
            used = " ".join([lab.images.test_name(test_set), *([f"x{scale}"] if scale else [])])
            measured[used] = found | ({"published": published} if published else {})
            print(f"{name}  {used}: {found['psnr']:.2f} dB" + (f" (paper: {published['psnr']})" if published else ""))
        looked = [row for row in course(lab, spec) if "psnr" in row]
        if points := [[row["step"], row.get("psnr_average", row["psnr"])] for row in looked]:  # of what the host is
            _keep_course(lab, file, points)
        path, examples = lab.cache.path(spec.name), sum(phase.steps * phase.batch_size for phase in spec.recipes)
        found = {"quality": measured, "examples": examples}
        if path.is_relative_to(lab.workdir.resolve()) and describe(path) | found != describe(path):
            annotate(path, found)


def _of_longer(lab, hosts):
    """The lab whose hosts are those that its profile trains further."""
    there = lab.profile.longer
    if (missing := sorted(set(hosts or ()) - set(there))) or not there:
        raise ValueError(f"--longer: profile {lab.profile.name} trains {', '.join(there) or 'no host'} further, not "
                         f"{', '.join(missing) or 'any'}; add its phases to watermark/lab/profiles.py")
    return dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, hosts=lab.profile.longer),
                               cache=dataclasses.replace(lab.cache, folder=lab.cache.folder / LONGER))


def _keep_course(lab, name, points):
    write(runner.results(lab) / "training" / f"{name}.json", json.dumps(points) + "\n")


def _average(row):
    """Mean PSNR in dB of the average of the weights over what train_hosts_jax.py has measured at a step."""
    return float(np.mean([psnr for key, psnr in row.items() if key.startswith("psnr") and key.endswith("_average")]))


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
    flags.DEFINE_integer("seed", 0, "of the initialisation", lower_bound=0)
    flags.DEFINE_bool("longer", False, "the hosts that are trained further than those that tables are of")
    scripts.run_main(lambda lab, options: main(lab, options, flags.FLAGS.keep, flags.FLAGS.seed, flags.FLAGS.longer))
