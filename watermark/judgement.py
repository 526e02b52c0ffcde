"""From a verdict to a statement: what was found, what it rests on, and whether a claim stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import keras
import numpy as np

from watermark import blackbox, interrogation, verification
from watermark.commitments import Finding, commit
from watermark.evidence import FALSE_POSITIVE_RATE, LEAST_KEYS, LEAST_RHO, NULL_KEYS, Rate, clopper_pearson, z_needed
from watermark.keys import Key
from watermark.ports import WIDE
from watermark.questions import null_of
from watermark.verification import FAITHFUL, Verdict

NO_CHANCE = 1e-4  # of a key that an unmarked network has never seen; one key is tried there, and no billion
FOUND, INCONCLUSIVE, NOT_FOUND = "found", "inconclusive", "not found"
# Neither rule finds a mark without evidence: d <= eta alone is had by declaring S to be what the suspect answers.
RULES = {
    "evidence": lambda verdict: verdict.evident,
    "threshold": lambda verdict: verdict.evident and verdict.within_threshold,
}
EXCHANGEABLE = ("This rests on the key having been drawn as the fresh keys were, by a hash: of the owner's name and "
                "secret, which were fixed before the suspect was at hand.")
HANDED = ("The answers were handed in: whoever had them and the key can have put S there. Have them made by somebody "
          "who has no key, or ask the network yourself.")
BARE = ("The key is an experiment's, drawn from a bare seed: whoever knows the seed has the key, and it shows nothing "
        "about an owner.")

# A thief may have stamped a key long before he stole the network that he then marks with it.
SETTLES = ("A stamp dates a key, not a mark. Which mark is older, each side's own copy shows: the first mark is in "
           "both, the later one in its owner's alone.")


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a verification says.

    Attributes:
      verdict: the numbers.
      rule: key in `RULES`, which decided.
      found: whether the mark is there by that rule.
      findings: what `commitments.check` says on the claim, or None without a commitment.
      unmarked: a `Rate` of false claims on an unmarked model, or None.
      null: rho of the fresh keys on the suspect.
      response: the suspect's answer S' to the trigger.
      unmarked_response: the unmarked model's, or None.
      key: the owner's.
      watched: whether whoever runs the suspect sees what it is asked.
      handed: whether the answers were handed in, by who may have had the key.
    """

    verdict: Verdict
    rule: str
    found: bool
    findings: list[Finding] | None
    unmarked: Rate | None
    null: np.ndarray
    response: np.ndarray
    unmarked_response: np.ndarray | None
    key: Key
    watched: bool = False
    handed: bool = False

    @property
    def outcome(self) -> str:
        """`FOUND`, `INCONCLUSIVE` (something is there, too little for a claim), or `NOT_FOUND`."""
        if self.found:
            return FOUND
        return INCONCLUSIVE if self.verdict.near or self.verdict.evident else NOT_FOUND

    @property
    def stands(self) -> bool:
        """Found, and nothing speaks against the claim."""
        return self.found and not self.against

    @property
    def against(self) -> list[str]:
        """Why the claim does not stand, of its key and commitment: sentences."""
        return [finding.why for finding in self.findings or [] if not finding.holds]

    @property
    def stamp(self) -> datetime | None:
        """When the commitment existed at the latest, a `datetime`, by a time stamp that holds; or None."""
        return next((finding.when for finding in self.findings or [] if finding.holds and finding.when), None)

    @property
    def public(self) -> str:
        """The key's digest, as its commitment has it, hexadecimal."""
        return next((finding.digest for finding in self.findings or [] if finding.digest), commit(self.key)["key"])

    @property
    def accuracy(self) -> timedelta:
        """How far that time may be off, a `timedelta`."""
        return next((finding.within for finding in self.findings or [] if finding.holds and finding.within),
                    timedelta(seconds=1))

    @property
    def statement(self) -> str:
        """The result in a sentence or two."""
        if self.verdict.refusal:
            return f"Nothing can be claimed with this key, whatever the suspect answers: {self.verdict.refusal}."
        if self.outcome == INCONCLUSIVE:
            return f"Something is there, but not enough for a claim: {_what_is_there(self.verdict)}."
        if not self.found:
            return "The owner's mark was not found in the suspect." + (
                f" Nor would the claim stand: {self.against[0]}." if self.against else "")
        where = "the answers that were handed in" if self.handed else "the suspect"
        if self.against:
            return f"The mark is in {where}, but the claim does not stand: {self.against[0]}."
        return f"The owner's mark is in {where}." if self.handed else "The suspect carries the owner's mark."


def judge(suspect: keras.Model | Callable, key: Key, *, rule: str = "evidence", findings: list[Finding] | None = None,
          unmarked: keras.Model | Callable | None = None, bare_seed: int | str | None = None, among: int = 1,
          **asked) -> Judgement:
    """Puts the trigger and fresh keys to a suspect and judges the answers.

    Args:
      suspect, key, bare_seed: as for `watermark.verify`.
      rule: key in `RULES`; "threshold" asks for the paper's d <= eta besides the evidence.
      findings: from `commitments.check`, or None.
      unmarked: a suspect known not to be marked; fresh keys are put to it too, and those that reach the key's rho are
        counted as false claims; where it answers this key as well, by the bar of `NO_CHANCE`, the claim does not stand.
      among: how many keys are put to this suspect, each of which counts (Bonferroni).
      **asked: null_keys, fresh_seed, shifts, as for `watermark.verify`.

    Returns:
      A `Judgement`.
    """
    answers = interrogation.interrogate(suspect, key, **asked)
    verdict = verification.judge(answers, key, bare_seed=bare_seed).among(among)
    rate = answer = None
    if unmarked is not None:
        unmarked = blackbox.as_suspect(unmarked, key.kind)
        # It may be a service, and the suspect's: what it is asked otherwise for K, or anew, would tell which K is.
        there = interrogation.interrogate(unmarked, key, max(verdict.put, 100),
                                          verdict.fresh_seed, asked.get("shifts", 0), answers.reading)
        null = null_of(answers.turn, there.nulls.get(answers.reading.words, there.null))  # as the suspect was found
        answer = there.response
        if not answers.asked:  # of what a network says when it is asked otherwise nothing is known here
            rate = clopper_pearson(int(np.sum(null >= verdict.rho)), len(null))
        own, z = verification.judge(there, key), verification.answered_too(there, answers, null, key)
        if own.stands_out or z >= z_needed(there.null.size, NO_CHANCE):
            findings = [*(findings or []), Finding("unmarked", False, "the unmarked network answers this key as well "
                        f"(z = {max(z, own.z_score):.1f}): the key was chosen to fit it, or it is marked, too")]
    return Judgement(verdict, rule, RULES[rule](verdict), findings, rate, answers.null, answers.response, answer, key,
                     (one := blackbox.as_suspect(suspect, key.kind)).watched, one.closed)


def _what_is_there(verdict):
    if verdict.evident:
        return "the mark is there by the evidence, but d is beyond η, which --rule=threshold asks for"
    fits = "the answer is within η of S" if verdict.within_threshold else "the answer is beyond η"
    if verdict.null_keys < LEAST_KEYS:
        return f"{fits}, but {verdict.put} fresh keys were asked, and fewer than {LEAST_KEYS} are no evidence"
    rank = ("no fresh key comes as close" if not verdict.false_positives.rate else
            f"{verdict.false_positives.rate:.2g} of the fresh keys come as close")
    if verdict.z_score >= verdict.z_needed and verdict.rho < LEAST_RHO:
        return f"{fits} and {rank}, but ρ is {verdict.rho:.3f}, and below {LEAST_RHO} a pixel alone may stand out"
    return f"{fits} and {rank}, but z is {verdict.z_score:.1f} where {verdict.z_needed:.1f} is needed"


def settles(judged: Judgement) -> list[str]:
    """What could turn an inconclusive outcome into a clear one, a list of clauses."""
    verdict, answer, S = judged.verdict, judged.response, judged.key.verification
    found, again = [], ""
    if judged.watched:
        again = f", with --fresh_seed={verdict.fresh_seed} (the service would see K come again among others)"
    if verdict.put < NULL_KEYS:
        least = z_needed(NULL_KEYS, FALSE_POSITIVE_RATE / verdict.tries)
        found.append(f"more fresh keys{again}: with --null_keys={NULL_KEYS} z must reach {least:.1f} only")
    if answer.min() >= 0.0 and answer.max() <= 1.0 and (S.min() < 0.0 or S.max() > 1.0):
        found.append(f"answers as floats (.npy, or numbers from a URL{again}): these are cut to [0, 1], as images of 8 "
                     "bits are, and S goes beyond")
    return [*found, "a second key that was embedded in the same model"]


def rests_on(verdict: Verdict) -> str:
    """What the evidence rests on, in sentences."""
    if not verdict.null_keys:
        return (f"No fresh keys were put to the suspect, and without at least {LEAST_KEYS} nothing is found: what they "
                "are answered tells what chance looks like on this very suspect.")
    rate, _, high = verdict.false_positives
    above = "none of them comes" if not rate else f"{100 * rate:.3g} % of them come"
    above = f"{verdict.lost} more were answered with NaN, and of the others {above}" if verdict.lost else above
    return (f"{verdict.null_keys} fresh random keys were put to the same suspect, and {above} as close as the owner's "
            f"(at most {100 * high:.3g} % of all keys would, with 95 % confidence). A key that the suspect never saw "
            f"ranks that high with probability p = {verdict.p_value:.2g}.")


def bar(verdict: Verdict) -> str:
    """The z-score that is needed and the one that is there, in a sentence."""
    if verdict.null_keys < LEAST_KEYS:
        return f"z is not judged: at least {LEAST_KEYS} fresh keys are needed, {verdict.put} were asked."
    among = f" in any of {verdict.tries} ways" * (verdict.tries > 1)
    return (f"z = {verdict.z_score:.1f}; {verdict.z_needed:.1f} is needed with {verdict.null_keys} fresh keys, which a "
            f"key that the suspect never saw reaches{among} once in {1 / FALSE_POSITIVE_RATE:,.0f} times (Student's t; "
            "ρ is taken to be normal among keys).")


def worth(judged: Judgement) -> str:
    """What the claim is worth as evidence of who was first, in a sentence; it is found in the suspect."""
    if judged.findings is None:
        return ("No commitment was given: nothing shows that the key is older than the suspect. Whoever has a copy of "
                "the suspect may draw names and secrets until one fits: t tries have a chance of 4t in a billion "
                "at most, and a billion take hours on one fast GPU, of the smallest keys less than one.")
    if judged.stamp is None:
        return ("No time stamp was given: when the commitment was made is not shown, and names and secrets may have "
                "been drawn until one fits (t tries have a chance of 4t in a billion at most).")
    return (f"The commitment existed on {judged.stamp:%Y-%m-%d %H:%M} UTC. If the suspect is younger, and "
            "whatever network it was made from, the key cannot have been chosen to fit it.")


def notes(judged: Judgement) -> list[str]:
    """Further sentences that the facts call for: [text]."""
    v = judged.verdict
    if judged.outcome == INCONCLUSIVE:
        return [f"What would settle it: {'; '.join(settles(judged))}."]
    if v.refusal:
        return []
    if judged.found:
        why = ("it lies on another range of pixels than [0, 1], where d says nothing (--range)" if v.rmse > WIDE else
               "the mark is damaged")
        damaged = f"The answer is beyond the paper's η: {why}, but no fresh key comes near it."
        shown = HANDED if judged.handed else worth(judged)
        rests = [EXCHANGEABLE, shown] if judged.key.owner else [BARE, *([HANDED] if judged.handed else [])]
        return [*([] if v.within_threshold else [damaged]), *rests]
    if v.within_threshold and v.fidelity < FAITHFUL:
        more = "" if v.null_keys < LEAST_KEYS else ", and the suspect does no more for this key than for any"
        return [f"S fits the answer, but has little to do with S₀ (ρ = {v.fidelity:.2f}){more}: S may have been "
                "declared afterwards."]
    if v.within_threshold:
        return ["The answer is within η, but the suspect comes as near for keys that it has never seen: η says nothing "
                "here."]
    return []


def decide(judged: list[Judgement]) -> tuple[Judgement | None, str]:
    """Whose key was committed to first, where several claim one suspect.

    Args:
      judged: of one suspect, each with another key.

    Returns:
      (the judgement whose claim prevails, or None where the facts do not say; why, in a sentence).
    """
    standing = [j for j in judged if j.stands]
    if len(standing) < 2:
        return (standing[0], f"Only the claim of {name(standing[0])} stands.") if standing else (
            None, "None of the claims stands.")
    if unstamped := [name(j) for j in standing if j.stamp is None]:
        return None, (f"{len(standing)} marks are in the suspect, and which is older is not shown: no time stamp was "
                      f"given for {', '.join(unstamped)}.")
    first, second, *others = sorted(standing, key=lambda j: j.stamp)
    off = max((first.accuracy + other.accuracy for other in (second, *others)
               if first.accuracy + other.accuracy > other.stamp - first.stamp), default=None)
    if off:
        return None, (f"Two commitments were stamped within {off.total_seconds():g} s of each other, closer than the "
                      "authorities' clocks are sure to be; which is older is not shown.")
    return first, (f"{len(standing)} marks are in the suspect, and {name(first)} committed first: on "
                   f"{first.stamp:%Y-%m-%d %H:%M:%S} UTC, the next on {second.stamp:%Y-%m-%d %H:%M:%S}. {SETTLES}")


def name(judged: Judgement) -> str:
    """Whose key it is: owner, or "a key without an owner", and the beginning of its public digest."""
    owner = repr(judged.key.owner) if judged.key.owner else "a key without an owner"
    return f"{owner} (key {judged.public[:12]}…)"


def heading(judged: Judgement) -> str:
    """The outcome in a few words."""
    if not judged.found or judged.findings is None:
        return judged.outcome
    if not judged.stands:
        return "found, but the claim does not stand"
    return f"found, and the claim stands{'' if judged.stamp else ', undated'}"


def words(judged: Judgement) -> str:
    """The judgement for a terminal."""
    v, yes = judged.verdict, {True: "yes", False: "no"}
    lines = [
        f"{heading(judged).upper()}: {judged.statement}",
        f"  distance d = {1e3 * v.distance:.3f}e-3, threshold η = {1e3 * v.threshold:.3f}e-3, d <= η: "
        f"{yes[v.within_threshold]}",
        f"  correlation ρ = {v.rho:.3f}; NCC = {v.ncc:.4f}; RMSE = {v.rmse:.4f}",
        f"  {bar(v)}",
        f"  {rests_on(v)}",
    ]
    if judged.unmarked:
        rate, low, high = judged.unmarked
        lines.append(f"  on the unmarked model: false claims {rate:.2g}, 95 % interval {low:.2g} to {high:.2g}")
    lines += [f"  {note}" for note in notes(judged)]
    lines += [f"  [{'ok' if finding.holds else 'NO'}] {finding.why}" for finding in judged.findings or []]
    return "\n".join(lines)
