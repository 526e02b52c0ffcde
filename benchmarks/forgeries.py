"""How many forged claims are accepted? Each forgery of watermark/attacks/forging.py, on the shipped DnCNN.

The suspect is the unmarked host and the marked one, which carries another owner's mark. A forger has the network in
hand and makes up keys: draws them, declares S or S₀, blends S between the answer and S₀ so that d <= η and the claim's
findings hold, or descends on K. "paper" counts what the paper's rule d <= η accepts; "stands out" what z alone would;
then what `watermark verify` accepts without and with a commitment, which the forger makes today to fit the key.

    python benchmarks/forgeries.py --tries=1000 --gradient_tries=20

2 minutes on 2 idle cores, and 10 seconds more for every try by gradient.
"""

import dataclasses
import json

import numpy as np
from absl import app, flags
from scipy import stats

from watermark import attacks, checkpoints, commitments, inference, keys, metrics, verification

FLAGS = flags.FLAGS
flags.DEFINE_integer("tries", 1000, "forged keys of each kind but by gradient", 1)
flags.DEFINE_integer("gradient_tries", 20, "forged keys by gradient", 0)
flags.DEFINE_list("suspects", ["unmarked", "marked"], "some of unmarked, marked")
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
    rho = np.array([verification.residual_correlation(key.trigger[None], answer[None], key.initial[None], key.kind)[0]
                    for key, answer in found])
    near = [metrics.distance(answer, key.verification) <= metrics.threshold(answer.size) for key, answer in found]
    for null in nulls:
        out = [pair for pair, value in zip(found, rho, strict=True) if verification.stands_out(value, null)]
        accepted = [key for key, answer in out
                    if verification.judge(verification.Answers(np.float64(answer), null, ""), key).evident]
        holds = [all(f.holds for f in commitments.check(key, commitments.commit(key))) for key in accepted]
        yield (name, len(found), len(null), rho.max(), (rho.max() - null.mean()) / null.std(ddof=1),
               verification.z_needed(len(null)), sum(near), len(out), len(accepted), sum(holds))


def main(_):
    """Prints the table, and how far rho of drawn keys is from normal."""
    print("| suspect | forgery | tries | fresh keys | highest ρ | highest z | z needed | paper | stands out | accepted "
          "| accepted with commitment |\n|" + "---|" * 11)
    manifest = checkpoints.read_manifest(checkpoints.SHIPPED)
    marked = next(file for file, entry in manifest.items()
                  if (entry["host"], entry["stage"], entry["seed"]) == ("dncnn", "marked-ours", 0))
    suspects = {"unmarked": checkpoints.load_host("dncnn"),
                "marked": checkpoints.load(checkpoints.SHIPPED / marked, manifest[marked])}
    normal = {}
    for suspect in FLAGS.suspects:
        model = suspects[suspect]
        kind = keys.make_key(0).kind
        null = verification.null_rho(inference.as_suspect(model, kind), kind, verification.NULL_KEYS, "forgeries")
        for name, found in forgeries(model, "forger", FLAGS.tries, FLAGS.gradient_tries):
            if not found:
                continue
            for row in count(name, found, (null, null[:verification.LEAST_KEYS])):
                cells = (f"{x:.2f}" if isinstance(x, float) else str(x) for x in row)
                print(f"| {suspect} | {' | '.join(cells)} |", flush=True)
            if name.startswith("draw"):
                rho = [verification.residual_correlation(key.trigger[None], S[None], key.initial[None], key.kind)[0]
                       for key, S in found]
                normal[suspect] = {"rho": f"{np.mean(rho):.3f} ± {np.std(rho):.3f}", "skewness": stats.skew(rho),
                                   "excess kurtosis": stats.kurtosis(rho)}
    print(json.dumps(normal, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    app.run(main)
