"""How far a key's rho stands out among fresh keys on the same suspect: rank, z-score, and the bars for a claim."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from watermark.kinds import Kind

NULL_KEYS = 1000
FALSE_POSITIVE_RATE = 1e-9  # of the evidence rule, for a key that the suspect has never seen
LEAST_KEYS = 20  # fresh keys below which nothing is found: a deviation of fewer says too little
RANKED = 100  # fresh keys from which on being the first of them all says something by itself
LEAST_RHO = 0.1  # the most damaged mark that z shows has .16; one pixel of 40x40 that stands alone comes to .07
# Of a residual that has nothing to do with the key, rho has a deviation of 1 / sqrt(its numbers); of fresh keys on the
# hosts that ship, marked or not, it has .88 to 1.23 of (1 - mean^2) times that. A suspect that gives nearly all images
# back as they are has a rho of 0 for each: without a floor any change would stand out, such as of one rare pixel, and
# a K that has it is drawn in no time.
FLOOR = 0.85
OUTLYING = 5.0  # robust deviations; of a residual like noise no pixel lies so far out
FINEST = 4  # numbers of S that one of K may count for: the deviations above are of keys enlarged twice at most


class Rate(NamedTuple):
    """A binomial rate and its exact two-sided 95 % interval."""

    rate: float
    low: float
    high: float


def bounded(residuals: np.ndarray) -> np.ndarray:
    """Residuals [N, ...], each with what lies `OUTLYING` deviations from its median brought back to there.

    A thief who lets one pixel of every answer be a thousand, which is shown as white and costs him nothing, would have
    the correlation be that pixel's. The deviation is 1.4826 times the median one (Hampel, J. Am. Stat. Assoc. 1974),
    that of normal noise; where most pixels are the same number, there is none and nothing is bounded. A network whose
    answers are bounded is a network like others, so that nobody who forges gains by it.

    >>> noise = np.random.default_rng(0).normal(size=(1, 1000))
    >>> bool(np.array_equal(bounded(noise), noise)), float(bounded(np.append(noise, [[1e6]], 1)).max()) < 6
    (True, True)
    """
    axes = tuple(range(1, residuals.ndim))
    middle = np.median(residuals, axes, keepdims=True)
    farthest = OUTLYING * 1.4826 * np.median(np.abs(residuals - middle), axes, keepdims=True)
    farthest[farthest == 0.0] = np.inf
    return np.clip(residuals, middle - farthest, middle + farthest)


def residual_correlation(triggers: np.ndarray, responses: np.ndarray, initials: np.ndarray,
                         kind: Kind) -> np.ndarray:
    """rho of each trigger: corr(K - M(K), K - S0), for super-resolution with K's upsampling for K. float64 [N].

    K - M(K) is `bounded`.
    """
    return correlation(np.stack([kind.base(K) for K in triggers]), responses, initials)


def correlation(bases: np.ndarray, responses: np.ndarray, initials: np.ndarray) -> np.ndarray:
    """`residual_correlation` by what K - M(K) is taken from, [N, H', W', C]."""
    taken, asked = (x.reshape(len(bases), -1) for x in (bounded(bases - responses), bases - initials))
    taken, asked = (x - x.mean(1, keepdims=True) for x in (taken, asked))
    norms = np.linalg.norm(taken, axis=1) * np.linalg.norm(asked, axis=1)
    return np.divide(np.sum(taken * asked, 1), norms, out=np.zeros(len(norms)), where=norms > 0)


def numbers(residual: np.ndarray, pixels: int) -> float:
    """How many independent numbers the rho of a residual is of: all of S if it is spread over S as noise is.

    A network that changes rare places only gives a residual that lies in a few of them, and a rho that a K with such
    places has by chance; K is drawn until it has. So the numbers are those of S, times the square of the share of S
    that the residual is spread over: 3 (sum of r^2)^2 / (n sum of r^4), 1 at most, which normal noise has. Of the marks
    that ship, whole or with 30 to 60 % of their weights pruned, it is .72 to 1.

    >>> numbers(np.eye(1, 100)[0], 100) < 0.1 < numbers(np.sin(np.arange(100.0)), 100)   # one pixel of a hundred
    True

    Args:
      residual: what the suspect takes from the trigger, float [H', W', C]; it is `bounded`.
      pixels: how many numbers K has; S may be K enlarged, and has then no more to say than `FINEST` times these.
    """
    r = bounded(residual[None])[0]
    r = r - r.mean()
    fourth = float(np.sum(r**4)) * r.size
    share = min(1.0, 3.0 * float(np.sum(r**2)) ** 2 / fourth) if fourth > 0.0 else 0.0
    return max(share**2 * min(r.size, FINEST * pixels), 1e-6)


def rank(rho: float, others: np.ndarray, numbers: float) -> tuple[int, int, float]:
    """(how many of the others reach rho, how many there are, rho's z-score among them), for rho of so many numbers."""
    reached, n = int(np.count_nonzero(others >= rho)), len(others)
    if n < 2:
        return reached, n, float("nan")
    mean = np.mean(others)
    deviation = max(np.std(others, ddof=1), FLOOR * (1.0 - mean**2) / np.sqrt(numbers))
    return reached, n, float((rho - mean) / deviation)


def stands_out(rho: float, others: np.ndarray, numbers: float, tries: int = 1) -> bool:
    """Whether a key's rho is evidence by `passes`, as the best of so many tries."""
    reached, n, z = rank(rho, others, numbers)
    return passes(rho, reached, n, z, z_needed(n, FALSE_POSITIVE_RATE / tries))


def passes(rho: float, reached: int, null_keys: int, z: float, needed: float) -> bool:
    """The evidence rule as a statistic.

    Enough fresh keys, none that reaches rho, rho at least `LEAST_RHO`, z at least `needed`. A rank alone can be had by
    trying keys until one comes first; the bar on z takes a billion tries.
    """
    return bool(null_keys >= LEAST_KEYS and not reached and rho >= LEAST_RHO and z >= needed)


def z_needed(null_keys: int, rate: float = FALSE_POSITIVE_RATE) -> float:
    """The z-score that one more key of the fresh keys' kind reaches with probability `rate`.

    Mean and deviation are those of the n fresh keys asked, so that z is sqrt(1 + 1/n) times a t of n - 1 degrees of
    freedom, if rho is normal among keys (Student's prediction of one further value).

    >>> [round(z_needed(n), 1) for n in (20, 100, 1000)]   # tables of Student's t
    [10.9, 6.6, 6.1]
    """
    return float(stats.t.isf(rate, null_keys - 1) * np.sqrt(1.0 + 1.0 / null_keys)) if null_keys > 1 else float("inf")


def clopper_pearson(successes: int, trials: int) -> Rate:
    """A binomial rate with its exact two-sided 95 % interval; Clopper and Pearson, Biometrika 1934.

    >>> clopper_pearson(0, 1000).high   # by hand: 1 - .025 ** (1 / 1000)
    0.003682...
    """
    if not trials:
        return Rate(float("nan"), 0.0, 1.0)
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return Rate(successes / trials, float(interval.low), float(interval.high))
