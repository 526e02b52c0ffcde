"""Writes the marked hosts of trial 0 as SavedModels, checkpoints/<host>-marked/, each verified in that form.

They are what a program that knows only TensorFlow loads (examples/plain_tensorflow.py). Their keys are those of the
bare seed 0, `Lab.key`, and go to examples/keys/<host>.npz: they are for trying `watermark verify`, and anyone may read
them. Hosts whose mark is not made yet are left out. Half a minute.

    python experiments/export_marked.py
"""

from watermark.lab import scripts
from watermark import exporting
from watermark.evidence import LEAST_KEYS
from watermark.hosts import HOSTS
from watermark.keys import save_key

PUBLIC = 0o644  # a demonstration, unlike an owner's key


def main(lab, options):
    """Exports the hosts asked for, or those that are marked."""
    for host in options.hosts or [name for name in HOSTS if lab.ready(lab.profile.mark(name, 0))]:
        mark = lab.profile.mark(host, 0)
        path, key = lab.workdir / "checkpoints" / f"{host}-marked", lab.key(mark)
        write_key(key, lab.workdir / "examples" / "keys" / f"{host}.npz")
        done = exporting.export(lab.get(mark), path, "saved_model", key=key, null_keys=lab.profile.null_keys)
        if lab.profile.null_keys >= LEAST_KEYS and not done.verdict.stands_out:
            raise ValueError(f"{path}: the mark is lost in the exported form (ρ = {done.verdict.rho:.2f})")
        lab.log(f"{path}: within {done.parity:.1e} of {lab.resolve(mark).name}; d = "
                f"{1e3 * done.verdict.distance:.3f}e-3, ρ = {done.verdict.rho:.3f}, p = {done.verdict.p_value:.1e}")


def write_key(key, path):
    """Writes an example key, for all to read; that of an earlier mark goes."""
    path.unlink(missing_ok=True)
    save_key(key, path)
    path.chmod(PUBLIC)


if __name__ == "__main__":
    scripts.run_main(main)
