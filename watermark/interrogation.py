"""Interrogation: how a suspect is asked for a key, among fresh ones, and in which ways the mark is looked for."""

from __future__ import annotations

import contextlib
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
from watermark.errors import FAILURES, check_type
from watermark.evidence import LEAST_KEYS, NULL_KEYS, numbers, residual_correlation, stands_out
from watermark.fitting import Turn
from watermark.keys import Key, key_blocks
from watermark.questions import ask
from watermark.readings import PLAIN, Reading

MOST_MOVED = 8  # pixels that answers are looked for shifted by


class Answers(NamedTuple):
    """What a suspect said.

    Attributes:
      response: S', float64 [H', W', C], read by `reading` and turned back by `turn`.
      null: rho of the fresh keys, float64 [null_keys], whose answers are read likewise.
      fresh_seed: as in `Verdict`.
      tries: in how many ways the mark was looked for.
      reading: of the answer; the plain one unless the mark is found by another.
      turn: of the question; none unless the mark is found by it. `null` is what fresh keys have in it.
      asked: how else the suspect was asked, in words; "" unless the mark is found so.
      nulls: {words of a reading: rho of the fresh keys}, of answers to plain questions.
    """

    response: np.ndarray
    null: np.ndarray
    fresh_seed: str
    tries: int = 1
    reading: Reading = PLAIN
    turn: Turn = Turn()
    asked: str = ""
    nulls: Mapping[str, np.ndarray] = MappingProxyType({})


def interrogate(suspect: keras.Model | Callable, key: Key, null_keys: int = NULL_KEYS,
                fresh_seed: str | None = None, shifts: int = 0) -> Answers:
    """Puts the trigger image and fresh keys to a suspect; arguments and errors as for `verify`."""
    check_type("key", key, Key, "watermark.load_key reads a file")
    if null_keys < 0 or not 0 <= shifts <= MOST_MOVED:
        raise ValueError(f"expected null_keys of 0 or more and shifts of 0 to {MOST_MOVED}, got {null_keys}, {shifts}")
    suspect, shifts = as_suspect(suspect, key.kind), shifts if null_keys >= LEAST_KEYS else 0
    named = secrets.token_hex(16) if fresh_seed is None else fresh_seed
    fresh_seed = drawn_from(named, key)
    asked = functools.partial(ask, shape=key.initial.shape)
    answered = functools.partial(asked, suspect)
    if suspect.watched:
        answered = questions.at_once(answered, key, null_keys, fresh_seed)
    plain, *others = found = _look(suspect, answered, key, (null_keys, fresh_seed), shifts)
    nulls = {one.reading.words: one.null for one in found if one.reading.shift == (0, 0)}
    if plain.stands_out(1):  # as it stands: nothing else had to be tried
        return Answers(plain.response, plain.null, named, nulls=nulls)
    tries = plain.ways
    for one in others:
        if one.stands_out(tries):
            return Answers(one.response, one.null, named, tries, one.reading, nulls=nulls)
    turns = questions.turns(key) if shifts and not (suspect.watched or suspect.closed) else []
    tries += len(turns)
    for turn, answer in zip(turns, questions.in_turns(answered, key, turns, fresh_seed), strict=True):
        one = _Look(key, answer, questions.null_of(turn, plain.null))
        if one.stands_out(tries):
            return Answers(answer, one.null, named, tries, turn=turn, nulls=nulls)
    ways = questions.otherwise(suspect) if shifts else []
    tries += plain.ways * len(ways)
    for words, other in ways:
        with contextlib.suppress(*FAILURES):  # it takes no other question
            for one in _look(suspect, functools.partial(asked, other), key, (null_keys, fresh_seed), shifts):
                if one.stands_out(tries):
                    return Answers(one.response, one.null, named, tries, one.reading, asked=words)
    return Answers(plain.response, plain.null, named, tries, nulls=nulls)


class _Look(NamedTuple):
    """One way of looking at what a suspect said; one of so many, of which the best are kept."""

    key: Key
    response: np.ndarray
    null: np.ndarray
    reading: Reading = PLAIN
    ways: int = 1

    def stands_out(self, tries):
        key = self.key
        rho, = residual_correlation(key.trigger[None], self.response[None], key.initial[None], key.kind)
        return stands_out(rho, self.null, numbers_of(key, self.response), tries)


def _look(suspect, answered, key, fresh, shifts):
    """A `_Look` as the answer stands and, with `shifts`, one for the likeliest of them and each other reading."""
    blocks = key_blocks(key.kind, *fresh)
    triggers, initials = next(blocks, (key.trigger[None][:0], key.initial[None][:0]))
    # K comes among fresh keys, so that nothing is asked otherwise for it: not the first question, nor one alone.
    place = int(questions.chance("place", fresh[1]).integers(len(triggers) + 1))
    answers = answered(np.insert(triggers, place, key.trigger, axis=0))
    response, answers = answers[place:place + 1], np.delete(answers, place, axis=0)

    def rho(reading, triggers, answers, initials):
        if not len(triggers):
            return np.zeros(0)
        bases = np.stack([key.kind.base(K) for K in triggers])
        return residual_correlation(triggers, reading.of(bases, answers), initials, key.kind)

    moved = readings.moved(max(shifts, min(MOST_MOVED, suspect.lack))) if shifts else []
    likeliest = max(moved, key=lambda one: rho(one, key.trigger[None], response, key.initial[None])[0], default=None)
    tried = [PLAIN, *([likeliest] if moved else []), *(readings.OTHERWISE if shifts else [])]
    null = [[rho(one, triggers, answers, initials)] for one in tried]
    for more, theirs in blocks:
        said = answered(more)
        for one, known in zip(tried, null, strict=True):
            known.append(rho(one, more, said, theirs))
    base, ways = key.kind.base(key.trigger)[None], 1 + len(moved) + len(readings.OTHERWISE) * bool(shifts)
    return [_Look(key, one.of(base, response)[0], np.concatenate(known), one, ways)
            for one, known in zip(tried, null, strict=True)]


def drawn_from(fresh_seed: str, key: Key) -> str:
    """What fresh keys follow from: the seed that is named and, of a key with an owner, the secret.

    Whoever has the questions cannot tell by the seed that a folder, report or verdict names which of them is K; and of
    two keys asked with one seed, the second's K is not all that is new. For the tables' keys, which have no secret,
    `null_label` alone stays as it is.
    """
    own = [fresh_seed, null_label(key), key.owner, key.secret]
    tables = not key.secret and fresh_seed == null_label(key)
    return fresh_seed if tables else hashlib.sha256(json.dumps(own).encode()).hexdigest()


def numbers_of(key: Key, response: np.ndarray) -> float:
    """`evidence.numbers` of what an answer S', [H', W', C], takes from the trigger."""
    return numbers(key.kind.base(key.trigger) - response, key.trigger.size)


def null_label(key: Key) -> str:
    """A `fresh_seed` that is always the same for a key: for tables, not for claims, since a forger can compute it."""
    return hashlib.sha256(key.trigger.tobytes()).hexdigest()
