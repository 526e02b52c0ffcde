"""Trains hosts on a GPU by Keras on JAX, without TensorFlow: stops at a deadline, goes on with the same command.

In --out each host leaves <host>.json, the course, and <host>.npz, its state, or once it is finished <host>.keras in its
place, which loads under TensorFlow too: two files a host. The full recipe is some minutes a host on an H100, by the
count of operations (DnCNN 3.3 MFLOP a pixel, 7.9 billion pixels; not measured). Needs jax, keras, numpy, pillow,
scipy, absl-py, filelock and h5py: pip install -e .[gpu], and jax[cuda13] for the GPU.

    python experiments/train_hosts_jax.py --hosts=dncnn,red,vdsr,srdncnn --minutes=8 --out=runs/jax
    python experiments/train_hosts_jax.py --hosts=red --seed=1                    # the second RED
    python experiments/train_hosts_jax.py --minutes=0 --export                    # models of the unfinished, too
    python experiments/train_hosts_jax.py --smoke --out=runs/jax-smoke            # to see it run, on the CPU

On a machine that reaches no package index and gives back only what is left in $OUT (Keras and its needs carried as
wheels in .whl, the image sets in .sets, files of an earlier call in .back):

    python3 -m pip install -q --no-index --no-deps --target /tmp/site .whl/*.whl && export PYTHONPATH=/tmp/site:. &&
    cp .back/* $OUT/; python3 experiments/train_hosts_jax.py --data_dir=.sets --out=$OUT --minutes=8
"""

import math
import os

from absl import app, flags

from watermark.jaxtraining import scripts
from watermark.recipes import Recipe
from watermark.several import define_several, parse

FLAGS = flags.FLAGS
SMOKE = dict(steps=4, batch_size=2, patch=16, chunk=2, grow=["0.5:2"], images=1)


def define_flags():
    """The flags of this script."""
    scripts.define_flags(out="runs/jax")
    define_several("hosts", [], "which, in the order in which they are trained; default: all")
    define_several("share", [], "host:share of the time, ..., in place of its weights in units of 100,000; what one "
                      "leaves over goes to the next")
    flags.DEFINE_integer("seed", 0, "of initial weights and batches; another one than 0 is in the files' names")
    flags.DEFINE_integer("steps", 30_000, "of each host, one cosine", lower_bound=1)
    flags.DEFINE_integer("batch_size", 64, "patches in a step", lower_bound=1)
    flags.DEFINE_integer("patch", 64, "side of a patch in pixels", lower_bound=8)
    define_several("grow", [], "share of the steps:factor, ...: from there on a batch is so many times as large")
    define_several("scales", ["2:1", "3:1", "4:1"], "scale:weight in the loss of super-resolution")
    flags.DEFINE_float("learning_rate", 2e-3, "the first step's")
    flags.DEFINE_enum("optimizer", "muon", ["muon", "adam"], "Muon for kernels, or Adam for all")
    flags.DEFINE_float("average", 0.999, "momentum of the running average of the weights; 0 for the last ones")
    flags.DEFINE_bool("bfloat16", True, "compute in bfloat16; weights are always float32")
    flags.DEFINE_float("measure_every", 30.0, "seconds between two points of the course")
    flags.DEFINE_integer("images", 4, "test images that are measured", lower_bound=1)
    flags.DEFINE_bool("export", False, "write unfinished hosts as models, too")
    flags.DEFINE_bool("smoke", False, f"to see it run: {SMOKE}")


def _numbers(flag, example, kind=float):
    """[(key, number)] of a flag whose items are key:number."""
    try:
        found = [(kind(key), float(number)) for key, number in (item.split(":") for item in FLAGS[flag].value)]
    except ValueError:
        raise ValueError(f"--{flag}: expected items like {example}, got {','.join(FLAGS[flag].value)}") from None
    if len(dict(found)) < len(found):
        raise ValueError(f"--{flag}: a key is given twice")
    return found


def growth():
    """((share of the steps, factor), ...) of --grow."""
    found = _numbers("grow", "0.7:2")
    if wrong := [by for _, by in found if not (1.0 <= by < math.inf and by == int(by))]:
        raise ValueError(f"--grow: expected whole factors of 1 or more, got {wrong[0]:g}")
    if wrong := [share for share, _ in found if not 0.0 <= share < 1.0]:
        raise ValueError(f"--grow: expected shares of the steps, 0 or more and below 1, got {wrong[0]:g}")
    return tuple((share, int(by)) for share, by in found)


def shares():
    """{host: its share of the time}."""
    from watermark.hosts import HOSTS, get_host

    found = {get_host(name).name: share for name, share in _numbers("share", "dncnn:5.6", str)}
    if wrong := [share for share in found.values() if not 0.0 < share < math.inf]:
        raise ValueError(f"--share: expected finite numbers above 0, got {wrong[0]:g}")
    # Operations of a step are in the proportion of the hosts' weights.
    return {name: host.parameters / 1e5 for name, host in HOSTS.items()} | found


def scales():
    """{scale: weight} of --scales."""
    found = dict(_numbers("scales", "2:1", int))
    if wrong := [(scale, weight) for scale, weight in found.items() if scale < 2 or not 0.0 <= weight < math.inf]:
        raise ValueError("--scales: expected whole scales of 2 or more and finite weights, 0 or more, got "
                         f"{wrong[0][0]}:{wrong[0][1]:g}")
    return found


def check_recipe():
    """A ValueError where the flags are no recipe: a course has no bounds of its own."""
    Recipe(FLAGS.steps, FLAGS.batch_size, FLAGS.learning_rate, patch=FLAGS.patch, optimizer=FLAGS.optimizer,
           average=FLAGS.average or None)


def plan(deadline):
    """The `watermark.jaxtraining.plan.Plan` that the flags ask for."""
    from watermark.hosts import HOSTS, get_host
    from watermark.jaxtraining.loop import Course, Pace
    from watermark.jaxtraining.plan import Plan

    check_recipe()
    course = Course(FLAGS.steps, FLAGS.batch_size, FLAGS.patch, FLAGS.learning_rate, FLAGS.optimizer,
                    average=FLAGS.average, growth=growth(), bfloat16=FLAGS.bfloat16, seed=FLAGS.seed)
    pace = Pace(FLAGS.chunk, FLAGS.save_every, FLAGS.measure_every, deadline)
    return Plan(tuple(get_host(name).name for name in FLAGS.hosts or HOSTS), course, pace, scales(), shares(),
                FLAGS.images, FLAGS.export)


def train(data_dir, deadline):
    """Trains the hosts; whether all are finished."""
    from watermark.jaxtraining import plan as planned

    return planned.train(plan(deadline), data_dir, FLAGS.out)


def main(argv):
    """0 at the end and at the deadline; 2, with one line, for what a user can mend."""
    if FLAGS.smoke:
        for name, value in SMOKE.items():
            FLAGS[name].value = value
    return scripts.run(argv, train, "--hosts=red", "hosts are finished")


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    define_flags()
    app.run(main, flags_parser=lambda argv: parse(argv, __doc__, scripts.__name__))
