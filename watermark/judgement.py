"""From a verdict to a statement: what was found, what it rests on, and whether a claim stands."""

from dataclasses import dataclass

import numpy as np

from watermark import inference, verification
from watermark.keys import Key
from watermark.verification import Rate, Verdict

RULES = {
    "evidence": lambda verdict: verdict.evident,
    "threshold": lambda verdict: verdict.within_threshold,
}


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
      key: the owner's.
    """

    verdict: Verdict
    rule: str
    found: bool
    findings: list | None
    unmarked: Rate | None
    null: np.ndarray
    response: np.ndarray
    key: Key

    @property
    def stands(self):
        """Found, and nothing speaks against the claim."""
        return self.found and all(finding.holds for finding in self.findings or [])

    @property
    def statement(self):
        """The result in one sentence."""
        against = [finding.why for finding in self.findings or [] if not finding.holds]
        if against:
            return f"The claim does not stand: {against[0]}."
        if not self.found:
            return "The owner's mark was not found in the suspect."
        return "The suspect carries the owner's mark." + (
            "" if self.findings else " (Without a commitment, nothing shows that the key is older than the suspect.)")


def judge(suspect, key, *, null_keys=verification.NULL_KEYS, rule="evidence", findings=None, unmarked=None, shifts=0):
    """Puts the trigger and fresh keys to a suspect and judges the answers.

    Args:
      suspect, key, null_keys, shifts: as for `watermark.verify`.
      rule: key in `RULES`.
      findings: from `commitments.check`, or None.
      unmarked: a suspect known not to be marked; fresh keys are put to it too, and those that reach the key's rho are
        counted as false claims.

    Returns:
      A `Judgement`.
    """
    response, null, tries, shift = verification.interrogate(suspect, key, null_keys, shifts)
    verdict = verification.judge(response, null, key, shift=shift).among(tries)
    rate = None
    if unmarked is not None:
        others = verification.null_rho(inference.as_suspect(unmarked, key.kind), key.kind, max(null_keys, 100),
                                       label=f"unmarked {verification.null_label(key)}")
        rate = verification.clopper_pearson(int(np.sum(others >= verdict.rho)), len(others))
    return Judgement(verdict, rule, RULES[rule](verdict), findings, rate, null, response, key)


def rests_on(verdict):
    """What the evidence rests on, in a sentence."""
    if verdict.null_keys:
        rate, _, high = verdict.false_positives
        above = "none of them comes" if not rate else f"{100 * rate:.2g} % of them come"
        return (f"{verdict.null_keys} fresh random keys were put to the same suspect, and {above} as close as the "
                f"owner's (at most {100 * high:.2g} % of all keys would, with 95 % confidence). A key that the suspect "
                f"never saw ranks that high with probability p = {verdict.p_value:.2g}.")
    return ("No fresh keys were put to the suspect. z is against the highest correlation that foreign keys had on the "
            f"marked networks shipped with this program (mean {verification.CALIBRATION}); a network of another kind "
            "may answer differently. Ask with --null_keys=100 to be sure.")


def words(judged):
    """The judgement for a terminal."""
    v, yes = judged.verdict, {True: "yes", False: "no"}
    lines = [
        f"{'STANDS' if judged.stands else 'DOES NOT STAND'}: {judged.statement}",
        f"  distance d = {1e3 * v.distance:.3f}e-3, threshold η = {1e3 * v.threshold:.3f}e-3, d <= η: "
        f"{yes[v.within_threshold]}",
        f"  correlation ρ = {v.rho:.3f}, z = {v.z_score:.1f}, p = {v.p_value:.2g}; NCC = {v.ncc:.4f}; "
        f"RMSE = {v.rmse:.4f}",
        f"  {rests_on(v)}",
    ]
    if judged.unmarked:
        rate, low, high = judged.unmarked
        lines.append(f"  on the unmarked model: false claims {rate:.2g}, 95 % interval {low:.2g} to {high:.2g}")
    if v.within_threshold != v.evident:
        lines.append("  NOTE: the paper's threshold and the evidence disagree; " + (
            "S fits, but the suspect does no more for this key than for any: S may have been declared afterwards"
            if v.within_threshold else
            "the mark is damaged, but no fresh key comes near it"))
    lines += [f"  [{'ok' if finding.holds else 'NO'}] {finding.why}" for finding in judged.findings or []]
    return "\n".join(lines)
