"""What a record of a robustness table costs, and where its seconds go.

For each marked model as it ships: tracing, drawing a thousand fresh keys, the network's answers to them in float32
and in bfloat16, the statistic, and PSNR on the host's first test set. Both precisions are measured in turn, in one run;
goal: 3 s a record with AMX. About 3 minutes on 2 idle cores.

    python benchmarks/evaluation.py [--hosts=dncnn] [--repeats=3] [--profile_calls]
"""

import cProfile
import pstats
import statistics
import time

from absl import flags

from watermark.lab import measures, scripts
from watermark import blackbox, evidence, inference, interrogation
from watermark.hosts import HOSTS, get_host
from watermark.keys import key_blocks
from watermark.lab.lab import Lab
from watermark.lab.profiles import get_profile
from watermark.several import define_several
from watermark.training import clone

FLAGS = flags.FLAGS
define_several("hosts", list(HOSTS), "which hosts", choices=tuple(HOSTS))
flags.DEFINE_integer("repeats", 3, "how often each part is timed; the median counts", lower_bound=1)
flags.DEFINE_integer("keys", 1000, "fresh keys", lower_bound=2)
flags.DEFINE_bool("profile_calls", False, "the costliest functions of a record, too")
PRECISIONS = ("float32", "bfloat16")


def timed(function):
    """(seconds, what it gave)."""
    start = time.perf_counter()
    given = function()
    return time.perf_counter() - start, given


def parts(lab, mark, count):
    """({part: seconds}, {precision: rho of the fresh keys}) of one record, its model traced anew."""
    key, model = lab.key(mark), clone(lab.get(mark))
    seconds, rhos = {}, {}
    seconds["keys"], blocks = timed(lambda: list(key_blocks(key.kind, count, interrogation.null_label(key))))
    for precision in PRECISIONS:
        predict = inference.predictor(model, precision)
        ask = blackbox.as_suspect(lambda images, predict=predict: predict(
            inference.model_input(model, images, key.kind)), key.kind)
        seconds[f"trace, {precision}"], _ = timed(lambda ask=ask: ask(key.trigger[None]))
        seconds[f"answers, {precision}"], answers = timed(lambda ask=ask: [ask(triggers) for triggers, _ in blocks])
        seconds["statistic"], found = timed(lambda answers=answers: [
            evidence.residual_correlation(triggers, there, initials, key.kind)
            for (triggers, initials), there in zip(blocks, answers, strict=True)])
        rhos[precision] = [float(rho) for block in found for rho in block]
    seconds["PSNR, float32"], _ = timed(lambda: measures.psnr(lab, model, mark.host))
    return seconds, rhos


def main():
    """Prints the parts' seconds, and what they come to, host by host."""
    lab = Lab.at("runs", get_profile("quick"))
    for host in FLAGS.hosts:
        mark = lab.profile.mark(get_host(host).name, 0)
        found = [parts(lab, mark, FLAGS.keys) for _ in range(FLAGS.repeats)]
        each = {name: statistics.median(seconds[name] for seconds, _ in found) for name in found[0][0]}
        print(f"{get_host(host).title}: " + "; ".join(f"{name} {taken:.2f} s" for name, taken in each.items()))
        for precision in PRECISIONS:
            total = sum(taken for name, taken in each.items() if name.endswith(precision) or "," not in name)
            total += each["PSNR, float32"] if precision != "float32" else 0.0
            print(f"  a record with the fresh keys in {precision}: {total:.2f} s")
        exact, rough = (found[0][1][precision] for precision in PRECISIONS)
        print(f"  largest difference in rho: {max(abs(a - b) for a, b in zip(exact, rough, strict=True)):.1e}")
        if FLAGS.profile_calls:
            with cProfile.Profile() as calls:
                measures.verdict(lab, mark)
            pstats.Stats(calls).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    scripts.run_script(main)
