"""Trains the hosts from scratch and measures them on their test sets.

DnCNN under `--profile=quick`: 12,000 steps of 32 patches in bfloat16, about an hour of 2 fast cores or two of slow
ones; resumes with the same command. Expected: 30.1 dB on Set12 at sigma 25 (the paper's host: 30.41).

    python experiments/train_hosts.py --hosts=dncnn
"""

from watermark import inference
from watermark.hosts import get_host
from watermark.lab import runner
from watermark.tasks import TASKS


def main(lab):
    """Trains each host that is asked for, prints its PSNR on each test set, and writes the manifest."""
    for name in runner.FLAGS.hosts or ["dncnn"]:
        spec, plan = get_host(name), lab.plan_host(name)
        model = lab.host(name)
        task = TASKS[spec.task]
        measured = {}
        for wanted in spec.test_sets:
            test_set, images = lab.images(wanted, "test")
            for variant in task.variants:
                psnr = inference.evaluate(model, task, images, variant).mean()
                measured[f"{test_set} x{variant}" if variant else test_set] = round(float(psnr), 3)
        examples = sum(phase.steps * phase.batch_size for phase in lab.profile.host)
        lab.annotate(plan.file, {"psnr": measured, "examples": examples})
        print(name, *(f"{test_set}: {psnr:.2f} dB" for test_set, psnr in measured.items()), sep="  ")


if __name__ == "__main__":
    runner.run_main(main)
