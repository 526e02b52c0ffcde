"""What the trainings of tables need, written down for a GPU machine without TensorFlow; and its models taken back.

    python experiments/jobs.py --of=table6_pruning,table7_finetuning --hosts=dncnn --out=jobs
    python experiments/train_jobs_jax.py --jobs=jobs --out=made --minutes=6          # there
    python experiments/jobs.py --of=table6_pruning,table7_finetuning --hosts=dncnn --take=made
    python experiments/table6_pruning.py --hosts=dncnn                               # measures them

`jobs` holds keys: give it to your own machines only. --rows, --trials, --first_seed and --schemes choose as for the
tables. Models are kept under the names that they would have here; what lies beside each says where it was trained.
Baselines, visualizers and hosts with batch norm are left to this machine. A minute; no training.
"""

import importlib

from absl import flags

from watermark.lab import elsewhere, scripts
from watermark.several import define_several

FLAGS = flags.FLAGS
define_several("of", ["table6_pruning"], "tables, by the names of their scripts")
flags.DEFINE_string("out", None, "folder that the trainings are written to")
flags.DEFINE_string("take", None, "folder of train_jobs_jax.py whose models are kept")


def main(lab, options):
    """Writes, or takes."""
    if bool(FLAGS.out) == bool(FLAGS.take):
        raise ValueError("expected one of --out=DIR, to write the trainings, and --take=DIR, to keep their models")
    specs = elsewhere.missing(lab, [_table(name) for name in FLAGS.of], options)
    if FLAGS.out:
        print(f"{FLAGS.out}: trainings for {elsewhere.write(lab, specs, FLAGS.out)} models")
        return
    taken = elsewhere.take(lab, specs, FLAGS.take)
    for spec in taken:
        print(f"kept {spec.name}")
    print(f"{len(taken)} of the {len(specs)} models that are missing")


def _table(name):
    try:
        return importlib.import_module(name).TABLE
    except (ImportError, AttributeError, TypeError, ValueError, flags.Error) as error:
        raise ValueError(f"--of={name}: expected the name of a table's script, such as table6_pruning") from error


if __name__ == "__main__":
    scripts.run_main(main, takes=["reuse", "rows", "hosts", "schemes", "trials", "first_seed"])
