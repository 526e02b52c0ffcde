"""How many forged claims are accepted? Each forgery of watermark/attacks/forging.py, on the shipped DnCNN.

The suspect is the unmarked host and, as another owner's, the marked one. A forger has the network in hand and makes up
keys: draws them, declares S or S₀, blends S between the answer and S₀ so that d <= η and the claim's findings hold, or
descends on K. "paper" counts what the paper's rule d <= η accepts; "stands out" what z alone would; then what
`watermark verify` accepts without and with a commitment, which the forger makes today and so always fits the key.

    python benchmarks/forgeries.py --tries=1000 --gradient_tries=20

2 minutes on 2 idle cores, and 10 seconds more for every try by gradient.
"""

import dataclasses
import json

import numpy as np
from absl import app, flags
from scipy import stats

from watermark import attacks, checkpoints, commitments, inference, keys, verification

FLAGS = flags.FLAGS
flags.DEFINE_integer("tries", 1000, "forged keys of each kind but by gradient", 1)
flags.DEFINE_integer("gradient_tries", 20, "forged keys by gradient", 0)
BLEND = 0.4  # of the way from the answer to S₀


def forgeries(model, seed, tries, gradient_tries):
    """(name, iterator of keys) of every kind."""
    drawn = [keys.make_key(f"{seed} {i}", owner="Mallory") for i in range(tries)]
    suspect = inference.as_suspect(model, drawn[0].kind)
    triggers = np.stack([key.trigger for key in drawn])
    answers = np.concatenate([suspect(triggers[i:i + 50]) for i in range(0, tries, 50)])
    pairs = list(zip(drawn, answers, strict=True))
    yield "draw: S declared", [(keys.with_verification(key, S), S) for key, S in pairs]
    yield "blend: S near both", [(keys.with_verification(key, S + np.float32(BLEND) * (key.initial - S)), S)
                                 for key, S in pairs]
    yield "declare: S₀ made up", [(dataclasses.replace(key, initial=S, verification=S), S) for key, S in pairs]
    for owner, name in (("", "gradient: K made up, no owner"), ("Mallory", "gradient: K made up, an owner stated")):
        share = gradient_tries // 2
        found = (attacks.forge(model, f"{seed} {i}", by="gradient", owner=owner) for i in range(share))
        yield name, [(key, key.verification) for key in found]


def count(name, found, nulls):
    """A row of the table for each number of fresh keys."""
    for null in nulls:
        verdicts = [verification.judge(np.float64(answer), null, key) for key, answer in found]
        holds = [all(f.holds for f in commitments.check(key, commitments.commit(key))) for key, _ in found]
        yield (name, len(found), len(null), max(v.rho for v in verdicts), max(v.z_score for v in verdicts),
               verdicts[0].z_needed, sum(v.within_threshold for v in verdicts), sum(v.stands_out for v in verdicts),
               sum(v.evident for v in verdicts), sum(v.evident and h for v, h in zip(verdicts, holds, strict=True)))


def main(_):
    """Prints the table, and how far rho of drawn keys is from normal."""
    print("| suspect | forgery | tries | fresh keys | highest ρ | highest z | z needed | paper | stands out | accepted | "
          "accepted with commitment |\n|" + "---|" * 11)
    manifest = checkpoints.read_manifest(checkpoints.SHIPPED)
    marked = next(file for file, entry in manifest.items()
                  if (entry["host"], entry["stage"], entry["seed"]) == ("dncnn", "marked-ours", 0))
    suspects = {"unmarked": checkpoints.load_host("dncnn"),
                "marked by another": checkpoints.load(checkpoints.SHIPPED / marked, manifest[marked])}
    normal = {}
    for suspect, model in suspects.items():
        kind = keys.make_key(0).kind
        null = verification.null_rho(inference.as_suspect(model, kind), kind, verification.NULL_KEYS, "forgeries")
        for name, found in forgeries(model, "forger", FLAGS.tries, FLAGS.gradient_tries):
            if not found:
                continue
            for row in count(name, found, (null, null[:verification.LEAST_KEYS])):
                cells = (f"{x:.2f}" if isinstance(x, float) else str(x) for x in row)
                print(f"| {suspect} | {' | '.join(cells)} |", flush=True)
            if name.startswith("draw"):
                rho = [verification.judge(np.float64(S), null, key).rho for key, S in found]
                normal[suspect] = {"rho": f"{np.mean(rho):.3f} ± {np.std(rho):.3f}", "skewness": stats.skew(rho),
                                   "excess kurtosis": stats.kurtosis(rho)}
    print(json.dumps(normal, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    app.run(main)
