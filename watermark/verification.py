"""Verification: one query tells whose a model is (section IV-C); queries with other keys tell how surely."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import keras
import numpy as np
from scipy import stats

from watermark import metrics
from watermark.fitting import moved, moves
from watermark.inference import SuspectError, as_suspect
from watermark.keys import Key, key_blocks
from watermark.kinds import Kind

NCC_THRESHOLD = 0.95
NULL_KEYS = 1000
Z_EVIDENT = 6.0
CALIBRATION = 0.30  # experiments/evidence_false_claims.py measures it: rho of foreign keys on marked hosts


class Rate(NamedTuple):
    """A binomial rate and its exact two-sided 95 % interval."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What one suspect's answer to one key says.

    Attributes:
      distance: d(S, S') of Eq. (8).
      threshold: eta for this key's number of pixels.
      within_threshold: distance <= threshold, the paper's rule.
      ncc: normalised correlation of S and S'.
      ncc_verified: ncc > 0.95.
      rmse: of S and S', on the [0, 1] scale of pixels; unlike d it does not shrink with the key.
      rho: correlation of what the suspect takes from the trigger, K - S', with what the key asks for, K - S0.
      p_value: tries * (r + 1) / (n + 1), at most 1, where r of n fresh random keys reach this key's rho on the same
        suspect; the chance of that rank for a key that the suspect has never seen. 1 without fresh keys.
      z_score: how many standard deviations of the fresh keys' rho this key's lies above their mean; without fresh
        keys, above that of `CALIBRATION`.
      null_keys: n, how many fresh keys were asked.
      false_positives: a `Rate`: the share r / n of fresh keys that this suspect would be claimed with at
        this key's rho, with its 95 % interval (Clopper and Pearson); (nan, 0, 1) without fresh keys.
      tries: in how many ways the answer was looked at (shifts by a pixel), the best of which this is; it counts in
        `p_value` and in what `z_score` must reach (Bonferroni).
      shift: (down, right), pixels by which the answer was found to be moved.
    """

    distance: float
    threshold: float
    within_threshold: bool
    ncc: float
    ncc_verified: bool
    rmse: float
    rho: float
    p_value: float
    z_score: float
    null_keys: int
    false_positives: Rate
    tries: int = 1
    shift: tuple[int, int] = (0, 0)

    @property
    def verified(self) -> bool:
        """What every scheme's verdict has: its own rule, the column of the paper's tables; here d <= eta."""
        return self.within_threshold

    @property
    def evident(self) -> bool:
        """The evidence rule: z_score at least `bar(tries)` and, with 100 fresh keys or more, none of them above.

        A rank alone can be had by trying keys until one comes first; a z-score of 6 would take a billion.
        """
        return _rule(self.z_score, self.null_keys, self.false_positives[0], self.tries)

    def among(self, tries: int) -> Verdict:
        """What this verdict is worth as the best of so many tries, besides those counted already (Bonferroni)."""
        return replace(self, p_value=min(1.0, tries * self.p_value), tries=tries * self.tries)


class Answers(NamedTuple):
    """What a suspect said.

    Attributes:
      response: S', float64 [H', W', C], moved back by `shift`.
      null: rho of the fresh keys, float64 [null_keys], their answers moved as well.
      tries: how many shifts were looked at.
      shift: (down, right), in pixels; none unless the mark is found by it.
    """

    response: np.ndarray
    null: np.ndarray
    tries: int = 1
    shift: tuple[int, int] = (0, 0)


def interrogate(suspect: keras.Model | Callable, key: Key, null_keys: int = NULL_KEYS, shifts: int = 0) -> Answers:
    """Puts the trigger image and fresh keys to a suspect; arguments and errors as for `verify`."""
    suspect = as_suspect(suspect, key.kind)
    response = ask(suspect, key.trigger[None], key.initial.shape)
    ways, pixels = moves(shifts), key.initial.size
    found = [residual_correlation(key.trigger[None], moved(response, move), key.initial[None], key.kind)[0]
             for move in ways]
    best = int(np.argmax(found))
    null = _null(suspect, key.kind, null_keys, null_label(key), list(dict.fromkeys((ways[0], ways[best]))))
    if is_evident(found[0], null[0], pixels):  # as it stands: nothing else had to be tried
        return Answers(response[0], null[0])
    if is_evident(found[best], null[-1], pixels, len(ways)):
        return Answers(moved(response, ways[best])[0], null[-1], len(ways), ways[best])
    return Answers(response[0], null[0], len(ways))


def verify(suspect: keras.Model | Callable, key: Key, *, null_keys: int = NULL_KEYS, p: float = 0.05,
           shifts: int = 0) -> Verdict:
    """Asks `suspect` for its answer to the trigger image and judges it.

    >>> import watermark
    >>> key = watermark.make_key("a long random secret", owner="Ada", size=16)
    >>> watermark.verify(lambda images: images, key, null_keys=9).within_threshold   # a suspect that does nothing
    False

    Args:
      suspect: a Keras model, or any callable on float32 [N, H, W, C] batches that returns as many images of the
        verification image's size. A super-resolution key and a model that keeps the size: the trigger is upsampled
        first.
      key: the owner's `Key`.
      null_keys: how many fresh random keys are put to the suspect for `p_value`; 0 for a single query.
      p: significance that gives the threshold.
      shifts: where the mark is not found as the answer stands, shifts of it up to so many pixels are tried too; for
        suspects that crop, pad or resample. Every one counts in the evidence.

    Returns:
      A `Verdict`.

    Raises:
      SuspectError: when the answer has another shape or is not finite.
    """
    response, null, tries, shift = interrogate(suspect, key, null_keys, shifts)
    return judge(response, null, key, p=p, shift=shift).among(tries)


def judge(response: np.ndarray, null: np.ndarray, key: Key, *, p: float = 0.05,
          shift: tuple[int, int] = (0, 0)) -> Verdict:
    """The `Verdict` on one answer S', where `null` are the rho of fresh keys on the same suspect (`null_rho`)."""
    d = metrics.distance(response, key.verification)
    eta = metrics.threshold(key.verification.size, p)
    ncc = metrics.ncc(response, key.verification)
    rho = float(residual_correlation(key.trigger[None], response[None], key.initial[None], key.kind)[0])
    r, n, z = _stands_out(rho, null, key.initial.size)
    return Verdict(d, eta, bool(d <= eta), ncc, bool(ncc > NCC_THRESHOLD), metrics.rmse(response, key.verification),
                   rho, (r + 1) / (n + 1), z, n, clopper_pearson(r, n), shift=shift)


def is_evident(rho, others, pixels, tries=1):
    """The evidence rule of `Verdict.evident` for a key of `pixels` pixels with `rho` among those of `others`."""
    r, n, z = _stands_out(rho, others, pixels)
    return _rule(z, n, r / n if n else 0.0, tries)


def bar(tries: int = 1) -> float:
    """The z-score that evidence takes, where it is the best of so many tries: as rare as `Z_EVIDENT` in one.

    >>> bar(), bar(9)   # scipy's normal distribution
    (6.0, 6.34...)
    """
    return Z_EVIDENT if tries == 1 else float(stats.norm.isf(stats.norm.sf(Z_EVIDENT) / tries))


def _rule(z, n, rate, tries=1):
    return bool(z >= bar(tries) and (n < 100 or rate == 0.0))


def _stands_out(rho, others, pixels):
    """(how many of the others reach rho, how many there are, rho's z-score among them)."""
    mean, deviation = (np.mean(others), np.std(others, ddof=1)) if len(others) > 1 else calibration(pixels)
    z = float((rho - mean) / max(deviation, 1e-12))
    return int(np.count_nonzero(others >= rho)), len(others), z


def null_label(key: Key) -> str:
    """What a key's fresh keys are drawn from: always the same for the owner, and no suspect can prepare for them."""
    return hashlib.sha256(key.trigger.tobytes()).hexdigest()


def calibration(pixels):
    """(mean, deviation) of a foreign key's rho, at most: what stands in for fresh keys that were not asked.

    The mean is the highest seen on a marked host (`CALIBRATION`); it depends on the host. Between keys, rho varies as
    a correlation of that many pixels does, 1 / sqrt(pixels).
    """
    return CALIBRATION, 1.0 / np.sqrt(pixels)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """A binomial rate with its exact two-sided interval; Clopper and Pearson, Biometrika 1934.

    >>> clopper_pearson(0, 1000).high   # by hand: 1 - .025 ** (1 / 1000)
    0.003682...
    """
    if not trials:
        return Rate(float("nan"), 0.0, 1.0)
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Rate(successes / trials, float(interval.low), float(interval.high))


def residual_correlation(triggers: np.ndarray, responses: np.ndarray, initials: np.ndarray,
                         kind: Kind) -> np.ndarray:
    """rho of each trigger: corr(K - M(K), K - S0), for super-resolution with K's upsampling for K. float64 [N]."""
    bases = np.stack([kind.base(K) for K in triggers])
    taken, asked = ((bases - images).reshape(len(bases), -1) for images in (responses, initials))
    taken, asked = (x - x.mean(1, keepdims=True) for x in (taken, asked))
    norms = np.linalg.norm(taken, axis=1) * np.linalg.norm(asked, axis=1)
    return np.divide(np.sum(taken * asked, 1), norms, out=np.zeros(len(norms)), where=norms > 0)


def null_rho(suspect: Callable, kind: Kind, count: int, label: str = "null") -> np.ndarray:
    """rho of `count` keys that the suspect has never seen: what chance looks like on this very suspect.

    Keys are drawn, asked and forgotten block by block: a thousand of 600x600 take well under 2 GB.
    """
    return _null(suspect, kind, count, label, moves(0))[0]


def _null(suspect, kind, count, label, ways):
    """`null_rho` with the answers moved back in each of `ways`, float64 [ways, count]."""
    found = [np.zeros((len(ways), 0))]
    for triggers, initials in key_blocks(kind, count, label):
        responses = ask(suspect, triggers, initials.shape[1:])
        found.append([residual_correlation(triggers, moved(responses, move), initials, kind) for move in ways])
    return np.concatenate(found, axis=1)


def ask(suspect: Callable, triggers: np.ndarray, shape: tuple) -> np.ndarray:
    """A suspect's answers to triggers [N, ...], float64; a SuspectError unless they are finite images of `shape`."""
    responses = np.asarray(suspect(triggers), np.float64)
    if responses.shape != (len(triggers), *shape):
        raise SuspectError(f"expected answers of shape {[len(triggers), *shape]}, got {list(responses.shape)}; "
                           "is the key for this kind of model?")
    if not np.isfinite(responses).all():
        raise SuspectError("the suspect answered with NaN or infinite pixels")
    return responses
