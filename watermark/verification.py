"""Verification: one query tells whose a model is (section IV-C); queries with other keys tell how surely."""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import stats

from watermark import metrics
from watermark.inference import SuspectError, as_suspect
from watermark.keys import base, random_keys

NCC_THRESHOLD = 0.95
NULL_KEYS = 1000
Z_EVIDENT = 6.0
CALIBRATION = 0.30  # experiments/evidence_false_claims.py measures it: rho of foreign keys on marked hosts


@dataclass(frozen=True)
class Verdict:
    """What one suspect's answer to one key says.

    Attributes:
      distance: d(S, S') of Eq. (8).
      threshold: eta for this key's number of pixels.
      verified: distance <= threshold, the paper's rule.
      ncc: normalised correlation of S and S'.
      ncc_verified: ncc > 0.95.
      rmse: of S and S', on the [0, 1] scale of pixels; unlike d it does not shrink with the key.
      rho: correlation of what the suspect takes from the trigger, K - S', with what the key asks for, K - S0.
      p_value: (r + 1) / (n + 1), where r of n fresh random keys reach this key's rho on the same suspect; the
        chance of that rank for a key that the suspect has never seen. 1 without fresh keys.
      z_score: how many standard deviations of the fresh keys' rho this key's lies above their mean; without fresh
        keys, above that of `CALIBRATION`.
      null_keys: n, how many fresh keys were asked.
      false_positives: (rate, low, high): the share r / n of fresh keys that this suspect would be claimed with at
        this key's rho, and its 95 % interval (Clopper and Pearson); (nan, 0, 1) without fresh keys.
    """

    distance: float
    threshold: float
    verified: bool
    ncc: float
    ncc_verified: bool
    rmse: float
    rho: float
    p_value: float
    z_score: float
    null_keys: int
    false_positives: tuple

    @property
    def evident(self):
        """The evidence rule: z_score at least `Z_EVIDENT` and, with 100 fresh keys or more, none of them above.

        A rank alone can be had by trying keys until one comes first; a z-score of 6 would take a billion.
        """
        return _rule(self.z_score, self.null_keys, self.false_positives[0])


def verify(suspect, key, *, null_keys=NULL_KEYS, p=0.05):
    """Asks `suspect` for its answer to the trigger image and judges it.

    Args:
      suspect: a Keras model, or any callable on float32 [N, H, W, C] batches that returns as many images of the
        verification image's size. A super-resolution key and a model that keeps the size: the trigger is upsampled
        first.
      key: the owner's `Key`.
      null_keys: how many fresh random keys are put to the suspect for `p_value`; 0 for a single query.
      p: significance that gives the threshold.

    Returns:
      A `Verdict`.

    Raises:
      SuspectError: when the answer has another shape or is not finite.
    """
    suspect = as_suspect(suspect, key.meta)
    response = ask(suspect, key.trigger[None], key.initial.shape)[0]
    return judge(response, key, null_rho(suspect, key.meta, null_keys, label=null_label(key)), p=p)


def judge(response, key, others, *, p=0.05):
    """The `Verdict` on one answer S', where `others` are the rho of fresh keys on the same suspect (`null_rho`)."""
    d = metrics.distance(response, key.verification)
    eta = metrics.threshold(key.verification.size, p)
    ncc = metrics.ncc(response, key.verification)
    rho = float(residual_correlation(key.trigger[None], response[None], key.initial[None], key.meta)[0])
    r, n, z = _stands_out(rho, others, key.initial.size)
    return Verdict(d, eta, bool(d <= eta), ncc, bool(ncc > NCC_THRESHOLD), metrics.rmse(response, key.verification),
                   rho, (r + 1) / (n + 1), z, n, clopper_pearson(r, n))


def is_evident(rho, others, pixels):
    """The evidence rule of `Verdict.evident` for a key of `pixels` pixels with `rho` among those of `others`."""
    r, n, z = _stands_out(rho, others, pixels)
    return _rule(z, n, r / n if n else 0.0)


def _rule(z, n, rate):
    return bool(z >= Z_EVIDENT and (n < 100 or rate == 0.0))


def _stands_out(rho, others, pixels):
    """(how many of the others reach rho, how many there are, rho's z-score among them)."""
    mean, deviation = (np.mean(others), np.std(others, ddof=1)) if len(others) > 1 else calibration(pixels)
    z = float((rho - mean) / max(deviation, 1e-12))
    return int(np.count_nonzero(others >= rho)), len(others), z


def null_label(key):
    """What a key's fresh keys are drawn from: always the same for the owner, and no suspect can prepare for them."""
    return hashlib.sha256(key.trigger.tobytes()).hexdigest()


def calibration(pixels):
    """(mean, deviation) of a foreign key's rho, at most: what stands in for fresh keys that were not asked.

    The mean is the highest seen on a marked host (`CALIBRATION`); it depends on the host. Between keys, rho varies as
    a correlation of that many pixels does, 1 / sqrt(pixels).
    """
    return CALIBRATION, 1.0 / np.sqrt(pixels)


def clopper_pearson(successes, trials, confidence=0.95):
    """(rate, low, high): a binomial rate and its exact two-sided interval; Clopper and Pearson, Biometrika 1934."""
    if not trials:
        return float("nan"), 0.0, 1.0
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return successes / trials, float(interval.low), float(interval.high)


def residual_correlation(triggers, responses, initials, meta):
    """rho of each trigger: corr(K - M(K), K - S0), for super-resolution with K's upsampling for K. float64 [N]."""
    bases = np.stack([base(K, meta) for K in triggers])
    taken, asked = ((bases - images).reshape(len(bases), -1) for images in (responses, initials))
    taken, asked = (x - x.mean(1, keepdims=True) for x in (taken, asked))
    norms = np.linalg.norm(taken, axis=1) * np.linalg.norm(asked, axis=1)
    return np.divide(np.sum(taken * asked, 1), norms, out=np.zeros(len(norms)), where=norms > 0)


def null_rho(suspect, meta, count, label="null"):
    """rho of `count` keys that the suspect has never seen: what chance looks like on this very suspect."""
    if not count:
        return np.zeros(0)
    triggers, initials = random_keys(meta, count, label)
    return residual_correlation(triggers, ask(suspect, triggers, initials.shape[1:]), initials, meta)


def ask(suspect, triggers, shape):
    """A suspect's answers to triggers [N, ...], float64; a SuspectError unless they are finite images of `shape`."""
    responses = np.asarray(suspect(triggers), np.float64)
    if responses.shape != (len(triggers), *shape):
        raise SuspectError(f"expected answers of shape {[len(triggers), *shape]}, got {list(responses.shape)}; "
                           "is the key for this kind of model?")
    if not np.isfinite(responses).all():
        raise SuspectError("the suspect answered with NaN or infinite pixels")
    return responses
