"""What tables measure: one function a kind, shared by all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from watermark import inference, metrics
from watermark.hosts import HOSTS
from watermark.lab.lab import Lab
from watermark.lab.specs import Marked, Spec
from watermark.lab.tables import Column, Measure
from watermark.recipes import EPOCH
from watermark.schemes import get_scheme
from watermark.tasks import TASKS

QUALITY = ("psnr", "ssim", "wpsnr")


def psnr(lab: Lab, model, host: str, test_set: str | None = None) -> float:
    """Mean PSNR in dB on a test set, by default the host's first."""
    return float(inference.evaluate(model, TASKS[HOSTS[host].task], lab.test_images(host, test_set)).mean())


def quality(lab: Lab, model, host: str, test_set: str, variant=None) -> dict[str, float]:
    """Mean PSNR, SSIM and WPSNR on a test set."""
    measured = inference.evaluate(model, TASKS[HOSTS[host].task], lab.test_images(host, test_set), variant,
                                  metric=lambda a, b: (metrics.psnr(a, b), metrics.ssim(a, b), metrics.wpsnr(a, b)))
    return dict(zip(QUALITY, np.mean(measured, 0).tolist(), strict=True))


def numbers(verdict) -> dict:
    """The numbers and yes/nos of a verdict, whatever the scheme; `verified` is the scheme's own rule."""
    fields = {field.name: getattr(verdict, field.name) for field in dataclasses.fields(verdict)}
    plain = {name: value for name, value in fields.items() if isinstance(value, bool | int | float)}
    return plain | {"verified": bool(verdict.verified)}


def verdict(lab: Lab, subject: Spec):
    """The verdict of a mark's own scheme on what has become of it."""
    mark = subject.root
    return get_scheme(mark.scheme).verify(lab.get(subject), lab.key(mark), null_keys=lab.profile.null_keys)


def robustness(lab: Lab, subject: Mapping[str, Spec], row: Mapping) -> dict:
    """Quality of an attacked model, and what its mark's own scheme says."""
    (spec,) = subject.values()
    return {"psnr": psnr(lab, lab.get(spec), spec.host)} | numbers(verdict(lab, spec))


def marks_notes(profile, subjects: list[Spec]) -> list[str]:
    """How the marks behind a table were made, and how many there are."""
    marks = list(dict.fromkeys(spec.root for spec in subjects if isinstance(spec.root, Marked)))
    lengths = dict.fromkeys((mark.recipe.steps, mark.recipe.batch_size) for mark in marks)
    made = ", ".join(f"{steps} embedding steps of {patches} patches" for steps, patches in lengths)
    held = ", ".join(HOSTS[host].title for host in dict.fromkeys(
        mark.host for mark in marks if getattr(mark.recipe, "others", 0)))
    return [f"trials per row: {profile.trials} (paper: 30)",
            f"{made} (paper: 8 epochs of {EPOCH} batches of 128, by its authors' code)",
            *([f"{held} marked with the answers to other keys held (docs/recipe.md)"] if held else []),
            "mean ± standard deviation over trials", f"ρ and p against {profile.null_keys} fresh keys"]


ROBUSTNESS = Measure(robustness, (
    Column("PSNR (dB)", "psnr"),
    Column("d (10⁻³)", "distance", 1e3),
    Column("d ≤ η", "verified", form=None),
    Column("NCC", "ncc", form=".4f"),
    Column("NCC > .95", "ncc_verified", form=None),
    Column("ρ", "rho", form=".3f"),
    Column("p", "p_value", form=".1e"),
), marks_notes)
