"""How near one embedding step comes to the machine's limit.

For each host: seconds and GFLOP/s of a step (32 patches and the trigger, batch norm folded), in bfloat16 and float32,
as a share of the matrix-product rate of the same precision, measured in the same run; what the steps of other recipes
take beside it; and PyTorch's step where it is installed. Goal: 85 % of the bfloat16 rate for DnCNN. About 4 minutes a
host on 2 idle cores, several times as long with AVX2 alone.

    python benchmarks/embedding_step.py [--hosts=dncnn] [--repeats=10]
"""

import statistics
import time
from dataclasses import replace

import watermark  # noqa: F401 - before TensorFlow, which looks at once whether oneDNN is on

# isort: split
import numpy as np
import tensorflow as tf
from absl import flags

from watermark.lab import scripts
from watermark.embedding import arranged, losses
from watermark.hosts import HOSTS, fold_batch_norm, get_host
from watermark.keys import make_key
from watermark.optimizers import OPTIMIZERS
from watermark.recipes import QUICK, Embedding
from watermark.several import define_several
from watermark.training import Compute, train_step

FLAGS = flags.FLAGS
define_several("hosts", list(HOSTS), "which hosts", choices=tuple(HOSTS))
flags.DEFINE_integer("repeats", 10, "timed steps", lower_bound=1)
BATCH = 32
SIDE, CHAIN = 2048, 8  # of the matrices whose products are timed; products in a row
FAST = "bfloat16"  # the precision that marks are made in
PLAIN = Embedding(1, BATCH, 1e-4)  # the paper's loss
SHADOW = replace(QUICK, lookahead=0.0, shadow=500)
RECIPES = {
    "lookahead": QUICK,
    "lookahead, other keys held": replace(QUICK, preserving=1e-3),
    "shadow": SHADOW,
    "shadow with rivals, other keys held": replace(SHADOW, rivals=0.3, preserving=1e-4),
    "shadow, against the worst nearby": replace(SHADOW, perturbing=0.02),
}


def seconds(function, repeats):
    """Median time of a call in seconds, after two that are not counted."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def matrix_product_rate(precision, repeats):
    """GFLOP/s of products of square float32 matrices, computed in `precision`."""
    a = tf.random.stateless_uniform([SIDE, SIDE], [0, 0]) / SIDE

    @tf.function
    def products(a):
        for _ in range(CHAIN):
            a = tf.matmul(a, a)
        return a

    with Compute(precision).active():
        return CHAIN * 2 * SIDE**3 / seconds(lambda: products(a).numpy(), repeats) / 1e9


def step_flops(model, side, images):
    """Floating-point operations of a training step: forward, and twice that backward but for the first layer."""
    layers = [layer for layer in model.layers if layer.weights]
    each = [2 * int(np.prod(layer.kernel.shape)) * side * side * images for layer in layers]
    return 3 * sum(each) - each[0]


def embedding_step(host, recipe, precision, repeats):
    """(seconds, GFLOP/s of the paper's loss) of one step of `embed`."""
    spec = get_host(host)
    model = fold_batch_norm(spec.build())
    key = make_key(0, size=spec.trigger, task=spec.task)
    side = key.initial.shape[0]  # patches of the trigger's size make one batch with it
    X = tf.random.stateless_uniform([BATCH, side, side, 1], [1, 1])
    batches = arranged(lambda start: tf.data.Dataset.from_tensors((X, X)).repeat(), recipe)
    loss_fn, ahead = losses(model, key, recipe)
    drift = ahead.drift(model.trainable_variables) if ahead else None
    optimizer = OPTIMIZERS[recipe.optimizer](recipe.learning_rate)
    optimizer.build(model.trainable_variables)
    step, rows = train_step(model, loss_fn, optimizer, lookahead=ahead, drift=drift), iter(batches(0))
    with Compute(precision).active():
        taken = seconds(lambda: float(step(next(rows))["task"]), repeats)
    return taken, step_flops(model, side, BATCH + 1) / taken / 1e9


def torch_step(repeats):
    """Seconds of DnCNN's folded step in PyTorch, channels last, bfloat16; None where it is not installed."""
    try:
        import torch
        from torch import nn
    except ImportError:
        return None
    layers = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU()]
    for _ in range(15):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1)).to(memory_format=torch.channels_last)
    x = torch.rand(BATCH + 1, 1, 40, 40).to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters())

    def step():
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (x - net(x) - x).square().sum()
        loss.backward()
        adam.step()

    return seconds(step, repeats)


def main():
    """Prints the machine's limit, then a row for each host, precision and recipe."""
    limits = {p: matrix_product_rate(p, FLAGS.repeats) for p in ("float32", FAST)}
    print("matrix product:", *(f"{p} {rate:.0f} GFLOP/s" for p, rate in limits.items()))
    for host in FLAGS.hosts:
        plain = {p: embedding_step(host, PLAIN, p, FLAGS.repeats) for p in limits}
        for p, (taken, rate) in plain.items():
            print(f"{host:8} {Compute(p).effective:8} {taken:.3f} s/step  {rate:4.0f} GFLOP/s  {rate / limits[p]:4.0%} "
                  "of the limit")
        for name, recipe in RECIPES.items():
            taken, _ = embedding_step(host, recipe, FAST, FLAGS.repeats)
            print(f"{host:8} {Compute(FAST).effective:8} {taken:.3f} s/step  {taken / plain[FAST][0]:.2f} times that: "
                  f"{name}", flush=True)
    taken = torch_step(FLAGS.repeats)
    print("PyTorch, DnCNN:", "not installed" if taken is None else f"{taken:.3f} s/step (bfloat16, channels last)")


if __name__ == "__main__":
    scripts.run_script(main)
