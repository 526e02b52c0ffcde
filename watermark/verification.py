"""Verification: one query tells whose a model is (section IV-C); queries with other keys tell how surely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np

from watermark import metrics
from watermark.evidence import (
    FALSE_POSITIVE_RATE,
    LEAST_KEYS,
    LEAST_RHO,
    NULL_KEYS,
    RANKED,
    Rate,
    clopper_pearson,
    passes,
    rank,
    residual_correlation,
    z_needed,
)
from watermark.interrogation import Answers, interrogate, numbers_of, rho_of
from watermark.keys import Key, key_blocks, refusal
from watermark.kinds import Kind
from watermark.questions import ask

NCC_THRESHOLD = 0.95
# An embedding leaves S at rho .75 (a short one) to .99 of S0; a foreign key's answer has .3 at most on average.
FAITHFUL = 0.5


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
      z_score: how many standard deviations of the fresh keys' rho this key's lies above their mean, by
        `evidence.rank`; nan with fewer than 2 fresh keys.
      z_needed: the bar for it, `z_needed(null_keys, FALSE_POSITIVE_RATE / tries)`.
      null_keys: n, how many fresh keys were answered.
      false_positives: a `Rate`: the share r / n of fresh keys that this suspect would be claimed with at
        this key's rho, with its 95 % interval (Clopper and Pearson); (nan, 0, 1) without fresh keys.
      fidelity: rho of S itself, how much of S0 is in what is claimed to be the mark.
      refusal: why nothing can be claimed with this key whatever the numbers say, `keys.refusal`; "" for a sound key.
      fresh_seed: with which, and the key's secret, the fresh keys were drawn; `verify` with both repeats the
        verification to the bit, and nobody else knows the questions by it.
      tries: in how many ways the mark was looked for (shifts and readings of the answer, turns of the question, other
        ways of asking), the best of which this is; it counts in `p_value` and in `z_needed` (Bonferroni).
      shift: (down, right), pixels by which the answer was found to be moved.
      turn: how the question had to be turned, a `fitting.Turn` in words; "" for not at all.
      reading: how the answer had to be read, a `readings.Reading` in words; "" for as it stands.
      asked: how else the suspect had to be asked, one of `questions.otherwise` in words; "" for as it says.
      lost: how many more fresh keys were asked, whose answers were NaN; a tenth of all at most.
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
    z_needed: float
    null_keys: int
    false_positives: Rate
    fidelity: float
    refusal: str = ""
    fresh_seed: str = ""
    tries: int = 1
    shift: tuple[int, int] = (0, 0)
    turn: str = ""
    reading: str = ""
    asked: str = ""
    lost: int = 0

    @property
    def put(self) -> int:
        """How many fresh keys were put to the suspect."""
        return self.null_keys + self.lost

    @property
    def verified(self) -> bool:
        """What every scheme's verdict has: its own rule, the column of the paper's tables; here d <= eta."""
        return self.within_threshold

    @property
    def stands_out(self) -> bool:
        """The evidence rule as a statistic, `evidence.passes`."""
        return passes(self.rho, self.false_positives.rate > 0.0, self.null_keys, self.z_score, self.z_needed)

    @property
    def evident(self) -> bool:
        """What a claim may rest on: the key stands out, and is one that was drawn as the fresh keys were."""
        return self.stands_out and not self.refusal

    def among(self, tries: int) -> Verdict:
        """What this verdict is worth as the best of so many tries, besides those counted already (Bonferroni)."""
        every = tries * self.tries
        return replace(self, p_value=min(1.0, tries * self.p_value), tries=every,
                       z_needed=z_needed(self.null_keys, FALSE_POSITIVE_RATE / every))

    @property
    def near(self) -> bool:
        """Whether something is there, though not enough for a claim: what more or better questions might settle."""
        first = self.put >= RANKED and not self.false_positives.rate and self.rho >= LEAST_RHO
        # S within eta means little where S is far from S0, or where many fresh keys are answered as well.
        fits = self.within_threshold and self.fidelity >= FAITHFUL
        return not self.refusal and (first or fits and (self.null_keys < LEAST_KEYS or self.p_value <= 0.05))


def verify(suspect: keras.Model | Callable, key: Key, *, null_keys: int = NULL_KEYS, p: float = 0.05,
           fresh_seed: str | None = None, bare_seed: int | str | None = None, shifts: int = 0) -> Verdict:
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
      null_keys: how many fresh random keys are put to the suspect; 0 for a single query, `LEAST_KEYS` or more for
        evidence.
      p: significance that gives the threshold.
      fresh_seed: what the fresh keys are drawn from, with the key's secret (`drawn_from`), to repeat a verification;
        by default, this machine's randomness, so that nobody can have prepared a key or a suspect for them.
      bare_seed: for a key of an experiment, `make_key(seed)` without an owner: that seed, from which K must follow.
      shifts: where the mark is not found as the answer stands, with `LEAST_KEYS` fresh keys or more it is looked for in
        other ways: the answer moved by up to so many pixels, for suspects that crop, pad or resample, and read
        otherwise (`readings.OTHERWISE`); and then, of suspects that nobody watches, K turned, mirrored and negative,
        for a network between two flips works as before, and the suspect asked otherwise (`questions.otherwise`). Every
        one counts: each of these four passes a key never seen as rarely, at most, as the answer as it stands does, so
        that with them it is four times in a billion. 0 for none of them.

    Returns:
      A `Verdict`.

    Raises:
      SuspectError: when the answer has another shape or is not finite.
    """
    return judge(interrogate(suspect, key, null_keys, fresh_seed, shifts), key, p=p, bare_seed=bare_seed)


def judge(answers: Answers, key: Key, *, p: float = 0.05, bare_seed: int | str | None = None) -> Verdict:
    """The `Verdict` on what a suspect said."""
    response, null, fresh_seed, tries, reading, turn, asked, lost, _ = answers
    d = metrics.distance(response, key.verification)
    eta = metrics.threshold(key.verification.size, p)
    ncc = metrics.ncc(response, key.verification)
    rho, fidelity = (rho_of(key, image) for image in (response, key.verification))
    r, n, z = rank(rho, null, numbers_of(key, response))
    return Verdict(d, eta, bool(d <= eta), ncc, bool(ncc > NCC_THRESHOLD), metrics.rmse(response, key.verification),
                   rho, (r + 1) / (n + 1), z, z_needed(n), n, clopper_pearson(r, n), fidelity,
                   refusal(key, bare_seed), fresh_seed, shift=reading.shift, turn=str(turn), reading=reading.words,
                   asked=asked, lost=lost).among(tries)


def answered_too(there: Answers, answers: Answers, null: np.ndarray, key: Key) -> float:
    """z of a key on an unmarked network whose answer is read as the suspect's was, as far as it was asked so.

    Args:
      there: what the unmarked network said.
      answers: what the suspect said.
      null: rho of the fresh keys on the unmarked network, read as the suspect's.
    """
    S, others = there.response, there.null
    if not (there.asked or str(there.turn) or there.reading.words or answers.asked or str(answers.turn)):
        S, others = answers.reading.of(key.kind.base(key.trigger)[None], S[None])[0], null
    return rank(rho_of(key, S), others, numbers_of(key, S))[2]


def null_rho(suspect: Callable, kind: Kind, count: int, label: str = "null") -> np.ndarray:
    """rho of `count` keys that the suspect has never seen: what chance looks like on this very suspect.

    Keys are drawn, asked and forgotten block by block: a thousand of 600x600 take well under 2 GB.
    """
    return np.concatenate([np.zeros(0), *(
        residual_correlation(triggers, ask(suspect, triggers, initials.shape[1:]), initials, kind)
        for triggers, initials in key_blocks(kind, count, label))])
