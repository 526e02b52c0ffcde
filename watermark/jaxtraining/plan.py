"""Several hosts, one deadline: which host trains when, what is measured, what is left in the folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

from watermark.files import atomic_write, write
from watermark.hosts import HOSTS, Host, fold_batch_norm
from watermark.jaxtraining import pools
from watermark.jaxtraining.loop import Course, Pace, Training
from watermark.metrics import psnr

SIDE = 256  # pixels that images are cut to for measuring, all to one size: each size is compiled anew


@dataclass(frozen=True)
class Plan:
    """What to train.

    Attributes:
      hosts: names in `watermark.hosts.HOSTS`, in the order in which they are trained.
      course: of each; a host's own clipping is added.
      pace: of each; its deadline is that of all of them together.
      scales: {scale: weight of its patches in the loss} of super-resolution.
      share: {host: its share of the time, above 0}; 1 for those not named. A host has its share of the time that is
        left when it begins, against those after it that are not finished, so what one leaves over goes to the next.
      images: how many images of a host's first test set are measured.
      export: whether unfinished hosts are written as models as well.
    """

    hosts: tuple
    course: Course
    pace: Pace
    scales: dict
    share: dict
    images: int = 4
    export: bool = False

    def __post_init__(self):
        # By shares of 0 or of nan a host's deadline would be one that has always passed.
        if wrong := {name: share for name, share in self.share.items() if not 0.0 < share < float("inf")}:
            raise ValueError(f"share: expected finite numbers above 0, got {wrong}")


def train(plan: Plan, data_dir: str | Path, out: str | Path) -> bool:
    """Trains the hosts of a plan; whether all came to the end.

    In `out`: "<host>.json", how it is trained and the course so far, and "<host>.npz", the state, until a host is
    finished, then "<host>.keras" in place of the state. With a seed other than 0, "<host>-<seed>".
    """
    out = Path(out)

    def finished(name):  # an exported one has its state beside it
        return _path(out, plan, name, ".keras").exists() and not _path(out, plan, name, ".npz").exists()

    left = [name for name in plan.hosts if not finished(name)]
    for i, name in enumerate(left):
        shares = [plan.share.get(other, 1.0) for other in left[i:]]
        now = time.monotonic()
        deadline = now + (plan.pace.deadline - now) * shares[0] / sum(shares)
        train_host(HOSTS[name], replace(plan, pace=replace(plan.pace, deadline=deadline)), data_dir, out)
    return all(map(finished, plan.hosts))


def train_host(host: Host, plan: Plan, data_dir: str | Path, out: Path) -> None:
    """Trains one host until it is finished or the deadline of the plan's pace."""
    course, state = replace(plan.course, clip=host.clip), _path(out, plan, host.name, ".npz")
    if time.monotonic() >= plan.pace.deadline and not (plan.export and state.exists()):
        print(f"{host.name}: no time left")
        return
    keras.utils.set_random_seed(course.seed)
    # Folded, RED's transposed convolutions are convolutions, and batch norm is no part of training.
    pool = pools.of_set(data_dir, host.train_set, host.task, course.patch, plan.scales)
    scales = {} if host.task == "denoise" else {"scales": plan.scales}
    training = Training(fold_batch_norm(host.build()), pool, course, state, about=scales.get("scales"))
    done = training.run(measuring(host, plan, data_dir), plan.pace)
    write(_path(out, plan, host.name, ".json"),
          json.dumps({"course": asdict(course) | scales, "rows": training.rows}) + "\n")
    if done or plan.export:
        with atomic_write(_path(out, plan, host.name, ".keras")) as temporary:
            training.finished().save(temporary)
    if done:
        state.unlink()
    rate = training.pixels / training.seconds / 1e6 if training.seconds else 0.0
    words = ", ".join(f"{k} {v:.2f}" for k, v in (training.rows or [{}])[-1].items() if k.startswith("psnr"))
    print(f"{host.name}: step {training.step} of {course.steps}, {rate:.3g} million pixels a second; {words}")


def _path(out, plan, name, suffix):
    return out / f"{name}{f'-{plan.course.seed}' if plan.course.seed else ''}{suffix}"


def measuring(host: Host, plan: Plan, data_dir: str | Path) -> Callable[[keras.Model], dict]:
    """A function of a model that gives {"psnr" or "psnr_x<scale>": mean in dB} over the middles of a few test images.

    By the rules of `watermark.tasks`, but for the cut: for the course of training, not for a table.
    """
    images = pools.read_set(data_dir, host.test_sets[0])[:plan.images]
    if host.task == "denoise":
        variants = {"psnr": ([_noisy(image, i) for i, image in enumerate(images)], _eight_bits)}
    else:
        variants = {f"psnr_x{scale}": ([pools.low_and_high(pools.luminance(image), scale) for image in images],
                                       partial(_inner, scale=scale)) for scale in plan.scales}
    variants = {name: (*_middles(pairs), comparable) for name, (pairs, comparable) in variants.items()}

    def measure(model):
        found = {}
        for name, (X, Y, comparable) in variants.items():
            outputs = np.clip(np.asarray(model(X, training=False)), 0.0, 1.0)
            found[name] = float(np.mean([psnr(*comparable(a, b)) for a, b in zip(outputs, Y, strict=True)]))
        return found

    return measure


def _noisy(image, seed):
    """(input, target); image i gets the noise that `watermark.tasks` gives it."""
    target = pools.grey(image).astype(np.float32) / 255.0
    noise = np.random.default_rng(seed).standard_normal(target.shape, np.float32)
    return target + np.float32(pools.SIGMA / 255.0) * noise, target


def _eight_bits(output, target):
    return np.round(output * 255.0) / 255.0, target


def _inner(output, target, scale):
    return output[scale:-scale, scale:-scale], target[scale:-scale, scale:-scale]


def _middles(pairs):
    """Inputs and targets [N, side, side, 1]: the middles of pairs of images, all of one size."""
    side = min(SIDE, *(min(target.shape) for _, target in pairs))

    def middle(image):
        top, left = ((length - side) // 2 for length in image.shape)
        return image[top:top + side, left:left + side, None]

    return tuple(np.stack([middle(image) for image in images]) for images in zip(*pairs, strict=True))
