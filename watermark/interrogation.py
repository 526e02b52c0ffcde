"""Interrogation: how a suspect is asked for a key, among fresh ones, and in which ways the mark is looked for."""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np

from watermark import questions, readings
from watermark.blackbox import as_suspect
from watermark.errors import FAILURES, ModelError, check_type, told
from watermark.evidence import LEAST_KEYS, NULL_KEYS, correlation, numbers, residual_correlation, stands_out
from watermark.fitting import Turn
from watermark.keys import Key, key_blocks
from watermark.ports import SuspectError, Unreachable
from watermark.questions import ask
from watermark.readings import PLAIN, Reading

MOST_MOVED = 8  # pixels that answers are looked for shifted by


class Answers(NamedTuple):
    """What a suspect said.

    Attributes:
      response: S', float64 [H', W', C], read by `reading` and turned back by `turn`.
      null: rho of the fresh keys that were answered, float64 [N], read likewise.
      fresh_seed: as in `Verdict`.
      tries: in how many ways the mark was looked for.
      reading: of the answer; the plain one unless the mark is found by another.
      turn: of the question; none unless the mark is found by it. `null` is what fresh keys have in it.
      asked: how else the suspect was asked, in words; "" unless the mark is found so.
      lost: how many fresh keys were answered with NaN, and are not in `null`.
      nulls: {words of a reading: rho of the fresh keys}, as far as they were looked at, of answers to plain questions.
    """

    response: np.ndarray
    null: np.ndarray
    fresh_seed: str
    tries: int = 1
    reading: Reading = PLAIN
    turn: Turn = Turn()
    asked: str = ""
    lost: int = 0
    nulls: Mapping[str, np.ndarray] = MappingProxyType({})


def interrogate(suspect: keras.Model | Callable, key: Key, null_keys: int = NULL_KEYS,
                fresh_seed: str | None = None, shifts: int = 0, also: Reading | None = None) -> Answers:
    """Puts the trigger image and fresh keys to a suspect; arguments and errors as for `verify`.

    `also` is a reading of the answers whose null is wanted in any case (`Answers.nulls`).
    """
    check_type("key", key, Key, "watermark.load_key reads a file")
    if null_keys < 0 or not 0 <= shifts <= MOST_MOVED:
        raise ValueError(f"expected null_keys of 0 or more and shifts of 0 to {MOST_MOVED}, got {null_keys}, {shifts}")
    suspect, shifts = as_suspect(suspect, key.kind), shifts if null_keys >= LEAST_KEYS else 0
    named = secrets.token_hex(16) if fresh_seed is None else fresh_seed
    fresh = null_keys, drawn_from(named, key)
    asked = functools.partial(ask, shape=key.initial.shape, spare=True)
    answered = functools.partial(asked, suspect)
    if suspect.watched:
        answered = questions.put_together(answered, key, *fresh)
    try:
        plain, *others = found = _look(suspect, answered, key, fresh, shifts, also)
    except Unreachable:
        raise
    except SuspectError as error:  # a file that fails on images of this size may be none the worse for its users
        tries = 1 + _each(_reach(suspect, shifts))
        one, words, tries = _otherwise(suspect, asked, key, fresh, shifts, tries)
        if not one:
            raise
        suspect.note(f"K alone was not answered: {told(error)}")
        return _answers(suspect, one, named, tries, asked=words)
    nulls = {one.reading.words: one.null for one in found}
    if plain.stands_out(1):  # as it stands: nothing else had to be tried
        return _answers(suspect, plain, named, 1, nulls=nulls)
    tries = plain.ways
    for one in others:
        if one.stands_out(tries):
            return _answers(suspect, one, named, tries, nulls=nulls)
    turns = questions.turns(key) if shifts and not (suspect.watched or suspect.closed) else []
    tries += len(turns)
    for turn, answer in zip(turns, questions.in_turns(answered, key, turns, fresh[1]), strict=True):
        one = plain._replace(response=answer, null=questions.null_of(turn, plain.null))
        if one.stands_out(tries):
            return _answers(suspect, one, named, tries, turn=turn, nulls=nulls)
    one, words, tries = _otherwise(suspect, asked, key, fresh, shifts, tries)
    return _answers(suspect, one if words else plain, named, tries, asked=words, nulls=nulls)


def _answers(suspect, one, named, tries, **how):
    if one.lost:
        suspect.note(f"{one.lost} of {len(one.null) + one.lost} fresh keys were answered with NaN or infinite pixels, "
                     "and are left out")
    return Answers(one.response, one.null, named, tries, one.reading, lost=one.lost, **how)


def _reach(suspect, shifts):
    """How far answers are looked for moved: by as many pixels as they lack, or have too many, at least."""
    return shifts and max(shifts, min(MOST_MOVED, suspect.lack))


def _each(reach):
    """In how many readings besides the plain one an answer is looked at."""
    return bool(reach) * (len(readings.shifted(reach)) + len(readings.OTHERWISE))


def _otherwise(suspect, asked, key, fresh, shifts, tries):
    """(the `_Look` that stands out, how it was asked in words, tries in all).

    Or (the first that there is, or None, "", tries).
    """
    ways, first = questions.otherwise(suspect) if shifts else [], None
    tries += (1 + _each(_reach(suspect, shifts))) * len(ways)
    for words, make in ways:
        other, found = _made(suspect, words, make, lambda other: _look(
            suspect, functools.partial(asked, other), key, fresh, shifts))
        first = first or next(iter(found), None)
        for one in found:
            if one.stands_out(tries):
                suspect.note(*getattr(other, "notes", ()))
                return one, words, tries
    return first, "", tries


def _made(suspect, words, make, look):
    """(a suspect that is asked otherwise, what a look at it gives); nothing where it takes no such question."""
    try:
        return (other := make()), look(other)
    except FAILURES as error:  # that it takes no such question is no news
        if isinstance(error, ModelError) or not isinstance(error, SuspectError | ValueError | TypeError):
            suspect.note(f"this suspect could not be asked {words}: {told(error)}")
    return None, []


class _Look(NamedTuple):
    """One way of looking at what a suspect said; one of so many, of which the best are kept; `lost` as in `Answers`."""

    key: Key
    response: np.ndarray
    null: np.ndarray
    reading: Reading = PLAIN
    ways: int = 1
    lost: int = 0

    def stands_out(self, tries):
        own = numbers_of(self.key, self.response)
        return stands_out(rho_of(self.key, self.response), self.null, own, tries)


def _look(suspect, answered, key, fresh, shifts, also=None):
    """A `_Look` as the answer stands and, with `shifts`, one for the likeliest of them and each other reading.

    Those others are left out where the mark stands out, among the first of the fresh keys already, as the answer is.
    """
    blocks = key_blocks(key.kind, *fresh)
    triggers, initials = next(blocks, (key.trigger[None][:0], key.initial[None][:0]))
    # K comes among fresh keys, so that nothing is asked otherwise for it: not the first question, nor one alone.
    place = int(questions.chance("place", fresh[1]).integers(len(triggers) + 1))
    answers = answered(np.insert(triggers, place, key.trigger, axis=0))
    response, answers = answers[place:place + 1], np.delete(answers, place, axis=0)
    if questions.lost(response)[0]:
        raise SuspectError(f"the suspect answered K with NaN or infinite pixels; up to {questions.FEW:.0%} of an image "
                           "are left out")

    def rho(tried, triggers, answers, initials):
        triggers, answers, initials = (x[~questions.lost(answers)] for x in (triggers, answers, initials))
        if not len(triggers):
            return np.zeros((len(tried), 0))
        bases = np.stack([key.kind.base(K) for K in triggers])
        return np.stack([correlation(bases, one.of(bases, answers), initials) for one in tried])

    first, = rho([PLAIN], triggers, answers, initials)
    moved = readings.shifted(reach) if (reach := _reach(suspect, shifts)) else []
    ways, tried = 1 + _each(reach), []
    if shifts and not _Look(key, response[0], first).stands_out(1):
        own = rho(moved, key.trigger[None], response, key.initial[None])[:, 0]
        tried = [moved[int(np.argmax(own))], *readings.OTHERWISE]
    if also and also.words not in {one.words for one in (PLAIN, *tried)}:
        tried.append(also)
        ways += also.words not in {one.words for one in moved}
    null = [np.concatenate([first[None], rho(tried, triggers, answers, initials)]) if tried else first[None]]
    null += [rho([PLAIN, *tried], more, answered(more), theirs) for more, theirs in blocks]
    base, null = key.kind.base(key.trigger)[None], np.concatenate(null, axis=1)
    lost = (count := fresh[0]) - null.shape[1]
    said = f"the suspect answered {lost} of {count} fresh keys with NaN or infinite pixels"
    if lost > questions.FEW * count:
        raise SuspectError(f"{said}; up to {questions.FEW:.0%} of them are left out")
    if null.shape[1] < LEAST_KEYS <= count:
        raise SuspectError(f"{said}, and {LEAST_KEYS} other answers are needed; ask more (--null_keys={2 * count})")
    return [_Look(key, one.of(base, response)[0], known, one, ways, lost)
            for one, known in zip([PLAIN, *tried], null, strict=True)]


def drawn_from(fresh_seed: str, key: Key) -> str:
    """What fresh keys follow from: the seed that is named and, of a key with an owner, the secret.

    Whoever has the questions cannot tell by the seed that a folder, report or verdict names which of them is K; and of
    two keys asked with one seed, the second's K is not all that is new. For the tables' keys, which have no secret,
    `null_label` alone stays as it is.
    """
    own = [fresh_seed, null_label(key), key.owner, key.secret]
    tables = not key.secret and fresh_seed == null_label(key)
    return fresh_seed if tables else hashlib.sha256(json.dumps(own).encode()).hexdigest()


def rho_of(key: Key, response: np.ndarray) -> float:
    """rho of an answer S', [H', W', C], to a key's trigger."""
    return float(residual_correlation(key.trigger[None], response[None], key.initial[None], key.kind)[0])


def numbers_of(key: Key, response: np.ndarray) -> float:
    """`evidence.numbers` of what an answer S', [H', W', C], takes from the trigger."""
    return numbers(key.kind.base(key.trigger) - response, key.trigger.size)


def null_label(key: Key) -> str:
    """A `fresh_seed` that is always the same for a key: for tables, not for claims, since a forger can compute it."""
    return hashlib.sha256(key.trigger.tobytes()).hexdigest()
