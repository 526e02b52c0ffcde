"""Trains the hosts from scratch and measures them on their test sets; the manifest keeps what was found.

`--profile=quick` takes 30 to 60 minutes a host on 2 cores; a host that the project ships is only measured. Stopped or
killed, training goes on with the same command; `tensorboard --logdir=runs` shows its course, and
`runs/*/phase*/best.keras` is the best model so far.

    python experiments/train_hosts.py --hosts=dncnn
"""

import dataclasses
import json
import time
from pathlib import Path

from evaluate_hosts import GRID, PUBLISHED, quality

from watermark.files import whole
from watermark.hosts import HOSTS
from watermark.lab import runner


def main(lab):
    """Trains each host that is asked for, prints its quality on each test set, and writes the manifest."""
    if runner.FLAGS.stop_after is not None:
        lab = dataclasses.replace(lab, deadline=time.monotonic() + 60.0 * runner.FLAGS.stop_after)
    for name in runner.FLAGS.hosts or list(HOSTS):
        plan = lab.plan_host(name)
        model = lab.host(name)
        measured = {}
        for row in (row for row in GRID if row["host"] == name):
            test_set, scale = row["test_set"], row["scale"]
            found = {key: round(value, 4) for key, value in quality(lab, model, name, test_set, scale).items()}
            published = PUBLISHED.get((name, test_set, scale))
            used = " ".join([lab.test_images(name, test_set)[0], *([f"x{scale}"] if scale else [])])
            measured[used] = found | ({"published": published} if published else {})
            print(f"{name}  {used}: {found['psnr']:.2f} dB" + (f" (paper: {published['psnr']})" if published else ""))
        if course := [[row["step"], row["psnr"]] for row in lab.host_course(name) if "psnr" in row]:
            path = Path(lab.workdir) / "results" / lab.profile.name / "training" / f"{name}.json"
            with whole(path) as temporary:
                temporary.write_text(json.dumps(course) + "\n")
        examples = sum(phase.steps * phase.batch_size for phase in lab.profile.hosts[name])
        lab.annotate(plan, {"quality": measured, "examples": examples})


if __name__ == "__main__":
    runner.run_main(main)
