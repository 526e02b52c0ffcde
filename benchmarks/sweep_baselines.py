"""How strongly the baselines are to be embedded: each lambda's mark and its price in PSNR, and the one that is chosen.

The rule: of the strengths that cost at most 0.3 dB, the one of the highest NCC; among equals, the cheapest. PSNR is on
Set12's 256x256 images, keys on a seed that no table uses. The full sweep, `quick` recipes, 1,000 steps a point: about
10 minutes a point on 2 idle cores with bfloat16. docs/baselines.md has what came out.

    python benchmarks/sweep_baselines.py --scheme=deepsigns --strengths=1e-5,3e-5,1e-4,3e-4,1e-3
    python benchmarks/sweep_baselines.py --scheme=adi --strengths=1e-5,1e-4,1e-3,1e-2

Points that the file of records has are not made again, and one that was cut short goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import time
from pathlib import Path

from absl import flags

from watermark.lab import scripts
from watermark import data, inference
from watermark.baselines import adi, deepsigns
from watermark.checkpoints import load_host
from watermark.errors import Interrupted, Stopped
from watermark.hosts import HOSTS
from watermark.kinds import Kind
from watermark.lab.store import Store, machine
from watermark.several import define_several
from watermark.tasks import TASKS
from watermark.training import identified

SCHEMES = {scheme.name: scheme for scheme in (deepsigns, adi)}
MOST_LOSS = 0.3  # dB; the paper's baselines lose .10 to .31
SEED = "sweep"

FLAGS = flags.FLAGS


def recipe_for(scheme, strength, **changes):
    """The scheme's `quick` recipe with that strength, and with those changes that are not None."""
    changes = {field: value for field, value in changes.items() if value is not None}
    return dataclasses.replace(scheme.RECIPES["quick"], strength=strength, **changes)


def kind_of(spec):
    """The sort of key that the tables use for a host."""
    return Kind(spec.task, spec.trigger, spec.scale)


def measure(scheme, host_name, recipe, folder, deadline=None):
    """One point: {"psnr_loss": dB, "seconds", and what the verdict says}; a `Stopped` at the deadline."""
    spec, host = HOSTS[host_name], load_host(host_name)
    task, start = TASKS[spec.task], time.monotonic()
    key = scheme.make_key(SEED, kind_of(spec), host)
    images = list(data.images(spec.train_set).values())
    batches = task.batches(images, seed=2000, batch_size=recipe.batch_size, size=recipe.patch or spec.patch)
    marked = scheme.embed(host, key, batches, recipe, folder=folder, deadline=deadline)
    seconds = time.monotonic() - start
    test = [image for image in data.images(spec.test_sets[0]).values() if max(image.shape) <= 256]
    psnr = [inference.evaluate(model, task, test).mean() for model in (host, marked)]
    return {"psnr_loss": psnr[0] - psnr[1], "seconds": seconds} | dataclasses.asdict(scheme.verify(marked, key))


def chosen(records):
    """The record that the rule picks, or None where every strength costs too much."""
    affordable = [record for record in records if record["psnr_loss"] <= MOST_LOSS]
    return max(affordable, key=lambda record: (round(record["ncc"], 4), -record["psnr_loss"]), default=None)


def sweep(scheme, host_name, recipes, workdir, deadline=None):
    """Numbers of the recipes, kept or made now; those that the deadline leaves out are missing."""
    store, found = Store(workdir, "records"), []
    weights = identified(load_host(host_name))[:12]  # a host that is trained further is another one
    for recipe in recipes:
        row = {"scheme": scheme.name, "host": host_name, "weights": weights, "recipe": dataclasses.asdict(recipe)}
        name = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:12]
        if name not in store.records:
            try:
                values = measure(scheme, host_name, recipe, Path(workdir) / name, deadline)
            except Interrupted:
                raise
            except Stopped as stopped:
                print(stopped)
                break
            store.add({"id": name, "row": row, "values": values, "provenance": machine()})
        found.append(row | store.records[name]["values"])
        print(line(found[-1]), flush=True)
    return found


def line(record):
    """One record, for a reader."""
    marks = "matches" if "matches" in record else "correct"
    return (f"{record['scheme']} {record['host']} lambda={record['recipe']['strength']:g}: NCC {record['ncc']:.4f}, "
            f"{record[marks]} {marks}, p {record['p_value']:.1e}, PSNR loss {record['psnr_loss']:.3f} dB, "
            f"{record['seconds']:.0f} s")


def asked():
    """(scheme, a recipe for each strength) of the flags; a ValueError for those that no training can have."""
    scheme = SCHEMES[FLAGS.scheme]
    changes = {name: FLAGS[name].value for name in ("steps", "batch_size", "stop")}
    if scheme is deepsigns and changes.pop("stop") is not None:
        raise ValueError("--stop is for --scheme=adi, which stops at forty labels of forty; leave it out")
    try:
        return scheme, [recipe_for(scheme, float(strength), **changes) for strength in FLAGS.strengths]
    except ValueError as error:
        raise ValueError(f"--strengths={','.join(FLAGS.strengths)}: expected numbers such as 1e-5,1e-4 ({error})"
                         ) from error


def main():
    """Prints the points of each host and the chosen one, once all are made."""
    scheme, recipes = asked()
    deadline = None if FLAGS.minutes is None else time.monotonic() + 60.0 * FLAGS.minutes
    for host in FLAGS.hosts:
        records = sweep(scheme, host, recipes, FLAGS.workdir, deadline)
        if len(records) < len(recipes):  # the best of them all may be one of the others
            raise Stopped(f"{len(records)} of {len(recipes)} strengths made on {host}")
        best = chosen(records)
        print("chosen:", line(best) if best else f"none, each of {len(records)} loses more than {MOST_LOSS} dB")


def define_flags():
    """Not at import, where these names could meet those of another script."""
    define_several("hosts", ["dncnn"], "which hosts", choices=tuple(HOSTS))
    flags.DEFINE_enum("scheme", "deepsigns", list(SCHEMES), "which baseline")
    define_several("strengths", ["1e-5", "1e-4", "1e-3"], "values of lambda")
    flags.DEFINE_integer("steps", None, "training steps, if not the recipe's", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "patches a step, if not the recipe's", lower_bound=1)
    flags.DEFINE_bool("stop", None, "whether adi stops at forty labels of forty, if not as its recipe says")
    flags.DEFINE_float("minutes", None, "no training step is taken later", lower_bound=0.0)
    flags.DEFINE_string("workdir", "runs/sweep_baselines", "folder of records.jsonl and of trainings cut short")


if __name__ == "__main__":
    define_flags()
    scripts.run_script(main)
