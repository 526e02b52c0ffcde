"""Verification: one query tells whose a model is (section IV-C); queries with other keys tell how surely."""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import keras
import numpy as np

from watermark import metrics, questions
from watermark.errors import check_type
from watermark.evidence import (
    FALSE_POSITIVE_RATE,
    LEAST_KEYS,
    LEAST_RHO,
    NULL_KEYS,
    RANKED,
    Rate,
    clopper_pearson,
    numbers,
    passes,
    rank,
    residual_correlation,
    stands_out,
    z_needed,
)
from watermark.fitting import Turn, moved, moves
from watermark.inference import as_suspect
from watermark.keys import Key, key_blocks, refusal
from watermark.kinds import Kind
from watermark.ports import SuspectError

NCC_THRESHOLD = 0.95
# An embedding leaves S at rho .75 (a short one) to .99 of S0; a foreign key's answer has .3 at most on average.
FAITHFUL = 0.5
FEW = 0.1  # of an answer's pixels, which need not be finite numbers
MOST_MOVED = 8  # pixels that answers are looked for shifted by


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
      null_keys: n, how many fresh keys were asked.
      false_positives: a `Rate`: the share r / n of fresh keys that this suspect would be claimed with at
        this key's rho, with its 95 % interval (Clopper and Pearson); (nan, 0, 1) without fresh keys.
      fidelity: rho of S itself, how much of S0 is in what is claimed to be the mark.
      refusal: why nothing can be claimed with this key whatever the numbers say, `keys.refusal`; "" for a sound key.
      fresh_seed: with which, and the key's secret, the fresh keys were drawn; `verify` with both repeats the
        verification to the bit, and nobody else knows the questions by it.
      tries: in how many ways the mark was looked for (shifts of the answer, turns of the question), the best of which
        this is; it counts in `p_value` and in `z_needed` (Bonferroni).
      shift: (down, right), pixels by which the answer was found to be moved.
      turn: how the question had to be turned, a `fitting.Turn` in words; "" for not at all.
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
        first = self.null_keys >= RANKED and not self.false_positives.rate and self.rho >= LEAST_RHO
        # S within eta means little where S is far from S0, or where many fresh keys are answered as well.
        fits = self.within_threshold and self.fidelity >= FAITHFUL
        return not self.refusal and (first or fits and (self.null_keys < LEAST_KEYS or self.p_value <= 0.05))


class Answers(NamedTuple):
    """What a suspect said.

    Attributes:
      response: S', float64 [H', W', C], moved back by `shift` and turned back by `turn`.
      null: rho of the fresh keys, float64 [null_keys], their answers moved as well.
      fresh_seed: as in `Verdict`.
      tries: how many shifts and turns were looked at.
      shift: (down, right), in pixels; none unless the mark is found by it.
      turn: of the question; none unless the mark is found by it. `null` is what fresh keys have in it.
    """

    response: np.ndarray
    null: np.ndarray
    fresh_seed: str
    tries: int = 1
    shift: tuple[int, int] = (0, 0)
    turn: Turn = Turn()


def interrogate(suspect: keras.Model | Callable, key: Key, null_keys: int = NULL_KEYS,
                fresh_seed: str | None = None, shifts: int = 0) -> Answers:
    """Puts the trigger image and fresh keys to a suspect; arguments and errors as for `verify`."""
    check_type("key", key, Key, "watermark.load_key reads a file")
    if null_keys < 0 or not 0 <= shifts <= MOST_MOVED:
        raise ValueError(f"expected null_keys of 0 or more and shifts of 0 to {MOST_MOVED}, got {null_keys}, {shifts}")
    suspect, ways = as_suspect(suspect, key.kind), moves(shifts if null_keys >= LEAST_KEYS else 0)
    named = secrets.token_hex(16) if fresh_seed is None else fresh_seed
    fresh_seed = drawn_from(named, key)
    answered = functools.partial(ask, suspect, shape=key.initial.shape)
    if suspect.watched:
        answered = questions.at_once(answered, key, null_keys, fresh_seed)
    blocks = key_blocks(key.kind, null_keys, fresh_seed)
    triggers, initials = next(blocks, (key.trigger[None][:0], key.initial[None][:0]))
    # K comes among fresh keys, so that nothing is asked otherwise for it: not the first question, nor one alone.
    place = int(questions.chance("place", fresh_seed).integers(len(triggers) + 1))
    answers = answered(np.insert(triggers, place, key.trigger, axis=0))
    response, answers = answers[place:place + 1], np.delete(answers, place, axis=0)
    if len(ways) > 1 and suspect.lack > shifts:
        ways = moves(min(MOST_MOVED, suspect.lack))
    found = [residual_correlation(key.trigger[None], moved(response, move), key.initial[None], key.kind)[0]
             for move in ways]
    best = int(np.argmax(found))
    two = list(dict.fromkeys((ways[0], ways[best])))
    null = np.concatenate([_moved_rho(triggers, answers, initials, key.kind, two), *(
        _moved_rho(fresh, answered(fresh), theirs, key.kind, two) for fresh, theirs in blocks)], axis=1)
    if stands_out(found[0], null[0], _numbers(key, response[0])):  # as it stands: nothing else had to be tried
        return Answers(response[0], null[0], named)
    back = moved(response, ways[best])[0]
    if stands_out(found[best], null[-1], _numbers(key, back), len(ways)):
        return Answers(back, null[-1], named, len(ways), ways[best])
    turns = [] if suspect.watched or suspect.closed or len(ways) < 2 else questions.turns(key)
    tries = len(ways) + len(turns)
    for turn, answer in zip(turns, questions.in_turns(answered, key, triggers, turns, fresh_seed), strict=True):
        rho = residual_correlation(key.trigger[None], answer[None], key.initial[None], key.kind)[0]
        if stands_out(rho, fresh := questions.null_of(turn, null[0]), _numbers(key, answer), tries):
            return Answers(answer, fresh, named, tries, turn=turn)
    return Answers(response[0], null[0], named, tries)


def drawn_from(fresh_seed: str, key: Key) -> str:
    """What fresh keys follow from: the seed that is named and, of a key with an owner, the secret.

    Whoever has the questions cannot tell by the seed that a folder, report or verdict names which of them is K; and of
    two keys asked with one seed, the second's K is not all that is new. For the tables' keys, which have no secret,
    `null_label` alone stays as it is.
    """
    own = [fresh_seed, null_label(key), key.owner, key.secret]
    tables = not key.secret and fresh_seed == null_label(key)
    return fresh_seed if tables else hashlib.sha256(json.dumps(own).encode()).hexdigest()


def _moved_rho(triggers, answers, initials, kind, ways):
    """rho of keys with their answers moved back in each of `ways`, float64 [ways, N]."""
    if not len(triggers):
        return np.zeros((len(ways), 0))
    return np.stack([residual_correlation(triggers, moved(answers, move), initials, kind) for move in ways])


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
      shifts: where the mark is not found as the answer stands, shifts of it up to so many pixels are tried too, with
        `LEAST_KEYS` fresh keys or more; for suspects that crop, pad or resample; and then, of suspects that nobody
        watches, K turned, mirrored and negative, for a network between two flips works as before. Every one counts: the
        shifts together, and the turns, pass a key never seen as rarely as the answer as it stands does, so that with
        them it is three times in a billion. 0 for none of them.

    Returns:
      A `Verdict`.

    Raises:
      SuspectError: when the answer has another shape or is not finite.
    """
    return judge(interrogate(suspect, key, null_keys, fresh_seed, shifts), key, p=p, bare_seed=bare_seed)


def judge(answers: Answers, key: Key, *, p: float = 0.05, bare_seed: int | str | None = None) -> Verdict:
    """The `Verdict` on what a suspect said."""
    response, null, fresh_seed, tries, shift, turn = answers
    d = metrics.distance(response, key.verification)
    eta = metrics.threshold(key.verification.size, p)
    ncc = metrics.ncc(response, key.verification)
    triggers, initials = np.stack([key.trigger] * 2), np.stack([key.initial] * 2)
    rho, fidelity = residual_correlation(triggers, np.stack([response, key.verification]), initials, key.kind)
    r, n, z = rank(float(rho), null, _numbers(key, response))
    return Verdict(d, eta, bool(d <= eta), ncc, bool(ncc > NCC_THRESHOLD), metrics.rmse(response, key.verification),
                   float(rho), (r + 1) / (n + 1), z, z_needed(n), n, clopper_pearson(r, n), float(fidelity),
                   refusal(key, bare_seed), fresh_seed, shift=shift, turn=str(turn)).among(tries)


def _numbers(key, response):
    return numbers(key.kind.base(key.trigger) - response, key.trigger.size)


def null_label(key: Key) -> str:
    """A `fresh_seed` that is always the same for a key: for tables, not for claims, since a forger can compute it."""
    return hashlib.sha256(key.trigger.tobytes()).hexdigest()


def null_rho(suspect: Callable, kind: Kind, count: int, label: str = "null") -> np.ndarray:
    """rho of `count` keys that the suspect has never seen: what chance looks like on this very suspect.

    Keys are drawn, asked and forgotten block by block: a thousand of 600x600 take well under 2 GB.
    """
    return np.concatenate([np.zeros(0), *(
        residual_correlation(triggers, ask(suspect, triggers, initials.shape[1:]), initials, kind)
        for triggers, initials in key_blocks(kind, count, label))])


def ask(suspect: Callable, triggers: np.ndarray, shape: tuple) -> np.ndarray:
    """A suspect's answers to triggers [N, ...], float64; a SuspectError unless they are images of `shape`.

    Pixels that are no finite numbers, few as they may be, are the median of the others: or one of them, which is shown
    as any other, would keep a network from being judged.
    """
    answers = suspect(triggers)
    try:
        responses = np.asarray(answers)
    except ValueError as error:  # of lists that are no array
        raise SuspectError(f"expected an array of answers, got {type(answers).__name__} of several shapes") from error
    if responses.dtype.kind not in "fiub" and responses.dtype.name != "bfloat16":
        raise SuspectError(f"expected answers in real numbers, got {responses.dtype}; is the suspect a network that "
                           "answers with images?")
    responses = responses.astype(np.float64)
    if responses.shape != (len(triggers), *shape):
        raise SuspectError(f"expected answers of shape {[len(triggers), *shape]}, got {list(responses.shape)}; "
                           "is the key for this kind of model?")
    finite = np.isfinite(responses)
    if (lost := 1.0 - finite.mean((1, 2, 3)).min(initial=1.0)) > FEW:
        raise SuspectError(f"the suspect answered with NaN or infinite pixels, {lost:.0%} of an image; up to {FEW:.0%} "
                           "are left out")
    for i in np.flatnonzero(~finite.all((1, 2, 3))):
        responses[i][~finite[i]] = np.median(responses[i][finite[i]])
    return responses
