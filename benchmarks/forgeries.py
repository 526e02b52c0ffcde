"""How many forged claims are accepted? Each forgery of watermark/attacks/forging.py, on the shipped DnCNN.

The suspect is the unmarked host and the marked one, which carries another owner's mark. A forger has the network in
hand and makes up keys: draws them, declares S or S₀, blends S between the answer and S₀ so that d <= η and the claim's
findings hold, or descends on K until z is over the bar. "paper" counts what the paper's rule d <= η accepts; "by z
alone" what the evidence would accept if it did not ask where K comes from; then what `watermark verify` accepts without
and with a commitment, which the forger makes today to fit the key.

    python benchmarks/forgeries.py --tries=1000 --gradient_tries=1000

Keys by gradient take half a second each on 2 idle cores and are recorded in --workdir, so that the same command goes
on after a kill; all else is 2 minutes.
"""

import dataclasses
import json

import numpy as np
from absl import flags
from scipy import stats

from watermark.lab import scripts
from watermark import blackbox, checkpoints, commitments, evidence, interrogation, keys, metrics, verification
from watermark.attacks import forging
from watermark.files import digest
from watermark.lab.profiles import get_profile
from watermark.lab.store import Store, machine
from watermark.several import define_several
from watermark.training import identified

FLAGS = flags.FLAGS
BLEND = 0.4  # of the way from the answer to S₀


def forgeries(model, seed, tries):
    """{name: [(key, the model's answer to it)]} of every kind but by gradient."""
    drawn = [keys.make_key(f"{seed} {i}", owner="Mallory") for i in range(tries)]
    suspect = blackbox.as_suspect(model, drawn[0].kind)
    pairs = list(zip(drawn, suspect(np.stack([key.trigger for key in drawn])), strict=True))
    return {
        "draw: S declared": [(keys.with_verification(key, S), S) for key, S in pairs],
        "blend: S near both": [(keys.with_verification(key, S + np.float32(BLEND) * (key.initial - S)), S)
                               for key, S in pairs],
        "declare: S₀ made up": [(dataclasses.replace(key, initial=S, verification=S), S) for key, S in pairs]}


def by_gradient(model, seed, tries, owner, store, nulls):
    """What becomes of each key by gradient, those of the store first."""
    names = [f"{seed} {i}" for i in range(tries)]
    missing = [name for name in names if name not in store.records]
    drawn = [keys.make_key(name, owner=owner) for name in missing]
    for name, (key, steps) in zip(missing, forging.by_gradient(model, drawn) if drawn else (), strict=True):
        values = {"steps": steps, **outcome(key, key.verification, nulls)}
        store.add({"id": name, "values": values, "provenance": machine()})
    return [store.records[name]["values"] for name in names]


def outcome(key, answer, nulls):
    """What becomes of one forged key: {..., number of fresh keys: (z, by z alone, accepted, with a commitment)}."""
    holds = all(finding.holds for finding in commitments.check(key, commitments.commit(key)))
    told = {"near": bool(metrics.distance(answer, key.verification) <= metrics.threshold(answer.size))}
    for null in nulls:
        verdict = verification.judge(interrogation.Answers(np.float64(answer), null, ""), key)
        told["rho"] = verdict.rho  # the same by any fresh keys
        told[str(len(null))] = verdict.z_score, verdict.stands_out, verdict.evident, verdict.evident and holds
    return told


def rows(name, found, nulls):
    """A row of the table for each number of fresh keys."""
    rho = np.array([one["rho"] for one in found])
    steps = f"{np.mean(taken):.1f}" if (taken := [one["steps"] for one in found if "steps" in one]) else "–"
    for null in nulls:
        z, *accepted = zip(*(one[str(len(null))] for one in found), strict=True)
        yield (name, len(found), steps, len(null), rho.max(), min(z), max(z), evidence.z_needed(len(null)),
               sum(one["near"] for one in found), *map(sum, accepted))


def file_of(suspect, model, owner):
    """What the records of keys by gradient are called: of this very network, and of the constants that make them."""
    constants = [{name: value for name, value in vars(module).items()
                  if name.isupper() and isinstance(value, int | float)} for module in (forging, evidence)]
    return f"{suspect}-{identified(model)[:12]}-{digest(*constants)}-{owner}"


def suspects():
    """{name: model} of those asked for."""
    marked = f"{get_profile('quick').mark('dncnn', 0).name}.keras"
    found = {"unmarked": checkpoints.load_host("dncnn"), "marked": checkpoints.load(checkpoints.SHIPPED / marked)}
    return {name: found[name] for name in FLAGS.suspects}


def main():
    """Prints the table, and how far rho of drawn keys is from normal."""
    print("| suspect | forgery | tries | steps | fresh keys | highest ρ | lowest z | highest z | z needed | paper "
          "| by z alone | accepted | accepted with commitment |\n|" + "---|" * 13)
    normal = {}
    for suspect, model in suspects().items():
        kind = keys.make_key(0).kind
        null = verification.null_rho(blackbox.as_suspect(model, kind), kind, evidence.NULL_KEYS, "forgeries")
        nulls = null, null[:evidence.LEAST_KEYS]
        found = {name: [outcome(*pair, nulls) for pair in pairs]
                 for name, pairs in forgeries(model, "forger", FLAGS.tries).items()}
        for owner, name in (("", "no owner"), ("Mallory", "an owner stated")):
            store, tries = Store(FLAGS.workdir, file_of(suspect, model, owner)), FLAGS.gradient_tries // 2
            found[f"gradient: K made up, {name}"] = by_gradient(model, "forger", tries, owner, store, nulls)
        for name, each in found.items():
            for row in rows(name, each, nulls) if each else ():
                cells = (f"{x:.2f}" if isinstance(x, float) else str(x) for x in row)
                print(f"| {suspect} | {' | '.join(cells)} |", flush=True)
        rho = [one["rho"] for one in found["draw: S declared"]]
        normal[suspect] = {"rho": f"{np.mean(rho):.3f} ± {np.std(rho):.3f}", "skewness": stats.skew(rho),
                           "excess kurtosis": stats.kurtosis(rho)}
    print(json.dumps(normal, ensure_ascii=False, indent=1))


def define_flags():
    """Not at import, where these names could meet those of another script."""
    flags.DEFINE_integer("tries", 1000, "forged keys of each kind but by gradient", 1)
    flags.DEFINE_integer("gradient_tries", 1000, "forged keys by gradient, on each suspect; an owner is stated in half",
                         0)
    flags.DEFINE_string("workdir", "runs/forgeries", "where the keys by gradient are recorded")
    define_several("suspects", ["unmarked", "marked"], "which networks", choices=("unmarked", "marked"))


if __name__ == "__main__":
    define_flags()
    scripts.run_script(main)
