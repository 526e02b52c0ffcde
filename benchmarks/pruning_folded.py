"""Does it matter for pruning whether batch norm is folded? Public weights, which have it, pruned before and after.

Folded, a network computes the same; but which weights of a kernel are the smallest hangs on the scales that batch norm
had beside it. The paper prunes networks with batch norm, this project folded ones. PSNR that pruning costs, on Set12.
A minute a host on 2 cores, for the weights that their authors published (docs/hosts.md).

    python benchmarks/pruning_folded.py --host=dncnn --weights=dncnn_sigma25_keras.h5
    python benchmarks/pruning_folded.py --host=red --weights=red10_sigma25_keras.hdf5 --rates=.08,.1,.15,.2
"""

import os

from absl import flags

from watermark.lab import scripts
from watermark import data, inference
from watermark.attacks import prune
from watermark.hosts import HOSTS, fold_batch_norm, load_pretrained
from watermark.several import define_several
from watermark.tasks import TASKS

FLAGS = flags.FLAGS


def rates():
    """Those of the flag; a ValueError for what is no share of the weights."""
    try:
        found = list(map(float, FLAGS.rates))
    except ValueError:
        found = [-1.0]
    if not all(0.0 <= rate <= 1.0 for rate in found):
        raise ValueError(f"--rates={','.join(FLAGS.rates)}: expected shares on [0, 1], such as .25,.3")
    return found


def main():
    """Prints a row for each rate."""
    asked = rates()
    host, model = HOSTS[FLAGS.host], load_pretrained(FLAGS.host, FLAGS.weights)
    images = list(data.images(host.test_sets[0], data_dir=os.environ.get("WATERMARK_DATA")).values())
    forms = {"with batch norm": model, "folded": fold_batch_norm(model)}
    print(f"{host.title}, {len(images)} images of {host.test_sets[0]}: PSNR (dB) and what pruning changes")
    print(f"| pruned | {' | '.join(forms)} |\n|---|---|---|")
    whole = {name: inference.evaluate(form, TASKS[host.task], images).mean() for name, form in forms.items()}
    print(f"| nothing | {' | '.join(f'{psnr:.2f}' for psnr in whole.values())} |", flush=True)
    for rate in asked:
        lost = [inference.evaluate(prune(form, rate), TASKS[host.task], images).mean() - whole[name]
                for name, form in forms.items()]
        print(f"| {rate:.0%} | {' | '.join(f'{change:+.2f}' for change in lost)} |", flush=True)


def define_flags():
    """Not at import, where these names could meet those of another script."""
    flags.DEFINE_enum("host", "dncnn", list(HOSTS), "whose weights these are")
    flags.DEFINE_string("weights", None, "the file of public weights", required=True)
    define_several("rates", [".25", ".3", ".35", ".4"], "shares pruned")


if __name__ == "__main__":
    define_flags()
    scripts.run_script(main)
