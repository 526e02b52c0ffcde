"""Writes the marked hosts of trial 0 as SavedModels, checkpoints/<host>-marked/, each verified in that form.

They are what a program that knows only TensorFlow loads (examples/plain_tensorflow.py). Their keys are those of seed 0,
`Lab.key`. Hosts whose mark is not made yet are left out. Half a minute.

    python experiments/export_marked.py
"""

from pathlib import Path

from watermark import exporting
from watermark.hosts import HOSTS
from watermark.lab import runner


def main(lab):
    """Exports the hosts asked for, or those that are marked."""
    for host in runner.FLAGS.hosts or [name for name in HOSTS if lab.has_marked(name, 0)]:
        marked, key = lab.marked(host, 0)
        path = Path(lab.workdir) / "checkpoints" / f"{host}-marked"
        done = exporting.export(marked, path, "saved_model", key=key, null_keys=lab.profile.null_keys)
        if lab.profile.name != "smoke" and not done.verdict.stands_out:
            raise ValueError(f"{path}: the mark is lost in the exported form (ρ = {done.verdict.rho:.2f})")
        lab.say(f"{path}: within {done.parity:.1e} of {lab.plan_marked(host, 0).file}; d = "
                f"{1e3 * done.verdict.distance:.3f}e-3, ρ = {done.verdict.rho:.3f}, p = {done.verdict.p_value:.1e}")


if __name__ == "__main__":
    runner.run_main(main)
