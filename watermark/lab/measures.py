"""What tables measure: one function a kind, shared by all of them."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from watermark.lab import makers, notes
from watermark import blackbox, inference, metrics
from watermark.data import PAIRED
from watermark.hosts import HOSTS
from watermark.keys import Key, key_blocks
from watermark.lab.lab import Lab
from watermark.lab.specs import Marked, Spec
from watermark.lab.tables import Column, Measure
from watermark.recipes import Embedding
from watermark.schemes import SchemeVerdict, get_scheme
from watermark.states import read_history
from watermark.tasks import Examples
from watermark.verification import NCC_THRESHOLD

QUALITY = ("psnr", "ssim", "wpsnr")
ENOUGH = 30.0  # seconds of verifications, after which none is begun
LABELS = ("matches", "correct")  # a verdict's count of labels that are answered, whatever the scheme calls it
IN_RESIDUALS = ("denoise",)  # tasks whose keys the paper's authors train and compare as residuals, K - M(K) with K - S


def psnr(lab: Lab, model: Callable, host: str, test_set: str | None = None) -> float:
    """Mean PSNR in dB on a test set, by default the host's first."""
    return float(inference.evaluate(model, makers.task_of(host), lab.test_images(host, test_set)).mean())


def real_noise(lab: Lab, model: Callable, test_set: str) -> dict[str, float]:
    """Mean PSNR, SSIM and WPSNR on photographs with real noise and without; colour goes through per channel."""
    pairs = [(noisy[..., c], clean[..., c]) for noisy, clean in lab.images.pairs(test_set) for c in range(3)]
    side = lab.profile.crop
    pairs = [(noisy[:side, :side], clean[:side, :side]) for noisy, clean in pairs]
    return _means(inference.evaluate(model, Examples(), pairs, metric=_metrics))


def quality(lab: Lab, model: Callable, host: str, test_set: str, variant: str | int | None = None) -> dict[str, float]:
    """Mean PSNR, SSIM and WPSNR on a test set."""
    if test_set in PAIRED:
        return real_noise(lab, model, test_set)
    return _means(inference.evaluate(model, makers.task_of(host), lab.test_images(host, test_set), variant,
                                     metric=_metrics))


@functools.lru_cache(maxsize=64)
def _quality(lab, spec, test_set, variant):
    """`quality` of a spec's model, measured once for the rows and tables that ask for it."""
    return quality(lab, lab.get(spec), spec.host, test_set, variant)


def _metrics(a, b):
    return metrics.psnr(a, b), metrics.ssim(a, b), metrics.wpsnr(a, b)


def _means(measured):
    return dict(zip(QUALITY, np.mean(measured, 0).tolist(), strict=True))


def fidelity(lab: Lab, subjects: Mapping[str, Spec], row: Mapping) -> dict[str, float]:
    """Quality of a model on the test set of the row, or the host's first, at the row's scale, or the mean of all."""
    (spec,) = subjects.values()
    test_set = row.get("test_set") or HOSTS[spec.host].test_sets[0]
    scale = row.get("scale")
    scales = [scale] if scale else makers.task_of(spec.host).variants
    found = [_quality(lab, spec, test_set, one) for one in scales]
    return {name: float(np.mean([values[name] for values in found])) for name in QUALITY} | evidence(lab, spec)


def uniqueness(lab: Lab, subjects: Mapping[str, Spec], row: Mapping) -> dict[str, float]:
    """Least, mean and deviation of d(S0, M(K)) over the first `keys` fresh keys; one query serves a model's rows."""
    (spec,) = subjects.values()
    d = _distances(lab, spec, row.get("gradient"))[:row["keys"]]
    return {"distance": float(d.min()), "mean": float(d.mean()), "sd": float(d.std(ddof=1))
            } | evidence(lab, spec)


@functools.lru_cache(maxsize=1)
def _distances(lab, spec, gradient=None):
    kind = lab.profile.kind(spec.root if isinstance(spec.root, Marked) else lab.profile.mark(spec.host, spec.seed))
    kind = dataclasses.replace(kind, gradient=gradient or kind.gradient)
    ask = blackbox.as_suspect(lab.get(spec), kind)
    return np.array([metrics.distance(answer, initial)
                     for triggers, initials in key_blocks(kind, lab.profile.null_keys, "uniqueness")
                     for answer, initial in zip(ask(triggers), initials, strict=True)])


def timing(lab: Lab, subjects: Mapping[str, Spec], row: Mapping) -> dict[str, float]:
    """Seconds of an embedding and of a verification by one query; both over those of the other subjects.

    An embedding's are those of `notes.TIMED` steps, their median, times its steps: so all are of one run, whatever else
    made the marks, and need no mark to be there.
    """
    found = {name: seconds(lab, spec) for name, spec in subjects.items()}
    values = dict(zip(("embed_seconds", "verify_seconds"), found.pop("mark"), strict=True))
    for name, (embedding, verification) in found.items():
        values |= {f"embed_{name}": values["embed_seconds"] / embedding,
                   f"verify_{name}": values["verify_seconds"] / verification}
    return values


@functools.lru_cache(maxsize=64)
def seconds(lab: Lab, spec: Marked) -> tuple[float, float]:
    """Those of an embedding and of a verification."""
    scheme, key, host = get_scheme(spec.scheme), lab.initial_key(spec), lab.get(spec.parent)
    with tempfile.TemporaryDirectory() as folder:
        some = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, steps=1 + notes.TIMED))
        makers.mark(lab, some, Path(folder), key, validate=lambda M: {}, validate_every=1)
        clock = [entry["seconds"] for entry in read_history(folder)]  # the first step's includes the tracing
    times: list[float] = []
    while len(times) < 4 and sum(times) < ENOUGH:
        start = time.perf_counter()
        scheme.verify(host, key, null_keys=0)  # takes as long on a network that is not marked
        times.append(time.perf_counter() - start)
    return float(np.median(np.diff(clock))) * spec.recipe.steps, float(np.median(times[1:] or times))


@functools.lru_cache(maxsize=64)
def evidence(lab: Lab, spec: Spec) -> dict[str, float]:
    """rho and p of a mark of ours, which every record of one has; nothing of other models."""
    if not isinstance(spec, Marked) or not isinstance(spec.recipe, Embedding):
        return {}
    found = verdict(lab, spec)
    return {"rho": found.rho, "p_value": found.p_value}


def pairs(lab: Lab, subjects: Mapping[str, Spec], row: Mapping) -> dict[str, float]:
    """Distances between the keys of two marked models, in images and in residuals, where the paper's denoisers live.

    `evidence` is of the first of them.
    """
    (one, other), compared = subjects.values(), PAIRS[row["compared"]]
    (S, base), (answer, other_base) = compared(lab, one, other)
    return {"distance": metrics.distance(S, answer),
            "distance_residual": metrics.distance(S - base, answer - other_base)} | evidence(lab, one)


def _swapped(lab, one, other):
    """(S1, M1(K2)), each with what its gradient was taken from."""
    key, foreign = lab.key(one), lab.key(other)
    answer = blackbox.answer(lab.get(one), foreign)
    return (key.verification, key.kind.base(key.trigger)), (answer, foreign.kind.base(foreign.trigger))


def _both(lab, one, other, image):
    return [(getattr(key, image), key.kind.base(key.trigger)) for key in (lab.key(one), lab.key(other))]


PAIRS = {
    "initial_keys": lambda lab, one, other: _both(lab, one, other, "initial"),
    "updated_keys": lambda lab, one, other: _both(lab, one, other, "verification"),
    "swapped_first": _swapped,
    "swapped_second": lambda lab, one, other: _swapped(lab, other, one),
}


def recorded(verdict: SchemeVerdict) -> dict:
    """The numbers and yes/nos of a verdict, whatever the scheme; `verified` is the scheme's own rule."""
    fields = {field.name: getattr(verdict, field.name) for field in dataclasses.fields(verdict)}
    plain = {name: value for name, value in fields.items() if isinstance(value, bool | int | float)
             and np.isfinite(value)}
    return plain | {"verified": bool(verdict.verified)}


def verdict(lab: Lab, subject: Spec) -> SchemeVerdict:
    """The verdict of a mark's own scheme on what has become of it.

    Fresh keys of a large kind are fewer, `notes.fresh_keys`: a thousand of 600x600 would take an hour.
    """
    mark = subject.root
    return get_scheme(mark.scheme).verify(lab.get(subject), lab.key(mark),
                                          null_keys=notes.fresh_keys(lab.profile, mark))


def robustness(lab: Lab, subject: Mapping[str, Spec], row: Mapping) -> dict:
    """Quality of an attacked model, and what its mark's own scheme says."""
    (spec,) = subject.values()
    return {"psnr": psnr(lab, lab.get(spec), spec.host)} | recorded(verdict(lab, spec)) | residual_ncc(lab, spec)


def residual_ncc(lab: Lab, subject: Spec) -> dict:
    """NCC of K - M(K) with K - S, no mean removed, and its verdict; nothing for a scheme whose keys have no S.

    For super-resolution K's upsampling stands for K.
    """
    key = lab.key(subject.root)
    if not isinstance(key, Key):
        return {}
    base = key.kind.base(key.trigger)
    answer = blackbox.answer(lab.get(subject), key)
    ncc = metrics.ncc(base - answer, base - key.verification)
    return {"ncc_residual": ncc, "ncc_residual_verified": bool(ncc > NCC_THRESHOLD)}


def as_the_paper(row: Mapping, values: Mapping) -> dict:
    """A record's values under the names of the paper's columns, of denoisers' keys in residuals, as its authors train.

    Only ours has a rho; of labels, the baselines' keys, `kept` is how many are still answered.
    """
    if "rho" not in values:
        return dict(values) | dict([("kept", values[name]) for name in LABELS if name in values])
    if HOSTS[row["host"]].task not in IN_RESIDUALS:
        return dict(values)
    compared = {"ncc": "ncc_residual", "ncc_verified": "ncc_residual_verified"}
    others = {name: value for name, value in values.items() if name not in compared}
    return others | {name: values[ours] for name, ours in compared.items() if ours in values}


ROBUSTNESS = Measure(robustness, (
    Column("PSNR (dB)", "psnr"),
    Column("d (10⁻³)", "distance", 1e3),
    Column("d ≤ η", "verified", form=None),
    Column("NCC", "ncc", form=".4f"),
    Column("NCC > .95", "ncc_verified", form=None),
    Column("ρ", "rho", form=".3f"),
    Column("p", "p_value", form=".1e"),
    Column("kept", "kept", form=".0f", optional=True),
), notes.robustness_notes, compared=as_the_paper)
FINETUNING = dataclasses.replace(ROBUSTNESS, notes=notes.finetuning_notes)
OVERWRITING = dataclasses.replace(ROBUSTNESS, notes=notes.overwriting_notes)


QUALITY_COLUMNS = (Column("PSNR (dB)", "psnr"), Column("SSIM", "ssim", form=".4f"), Column("WPSNR (dB)", "wpsnr"))
FIDELITY = Measure(fidelity, QUALITY_COLUMNS, notes.fidelity_notes, lambda row: row.get("test_set"))
# A large key may not have taken in the steps there are: what its marking costs is then no price of a mark.
CAPACITY = dataclasses.replace(FIDELITY, columns=(*QUALITY_COLUMNS, Column("ρ", "rho", form=".3f", optional=True)))
UNIQUENESS = Measure(uniqueness, (
    Column("least d (10⁻³)", "distance", 1e3),
    Column("mean", "mean", 1e3),
    Column("sd", "sd", 1e3, ".3f"),
), notes.uniqueness_notes, on_images=False)
TIMING = Measure(timing, (
    Column("embedding (s)", "embed_seconds", form=".0f"),
    Column("÷ size 40", "embed_to_40", form=".2f"),
    Column("÷ ours", "embed_to_ours", form=".2f"),
    Column("verification (s)", "verify_seconds", form=".3f"),
    Column("÷ size 40 ", "verify_to_40", form=".2f"),
    Column("÷ ours ", "verify_to_ours", form=".2f"),
), notes.timing_notes, needs=lambda spec: spec.trained, on_images=False)
DISTANCES = Measure(pairs, (
    Column("d in residuals (10⁻³)", "distance_residual", 1e3),
    Column("d in images (10⁻³)", "distance", 1e3),
), notes.pairs_notes, on_images=False)
