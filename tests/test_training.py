"""Oracles: an uninterrupted run, one replica, and what the messages promise."""

import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import compute, hosts, lookahead, metrics, states, tasks, training
from watermark.attacks import finetune
from watermark.optimizers import OPTIMIZERS
from watermark.recipes import Recipe, changed

FLOAT32 = training.Compute("float32")
RUN = training.Run(compute=FLOAT32)
CONSTANT = Recipe(6, 4, 1e-3, schedule="constant")


def loss_fn(model, X, Y):
    loss = tasks.task_loss(model, X, Y)
    return loss, {"task": loss}


def _fit(model, batches, steps=6, lookahead=None, loss=loss_fn, **options):
    recipe, run = changed((CONSTANT, RUN), {"steps": steps} | options)
    return training.fit(model, loss, batches, recipe, run, lookahead)


def _assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_few_steps_reduce_the_loss(tiny_host, tiny_batches):
    history = _fit(tiny_host, tiny_batches, steps=60, learning_rate=3e-3, validate=lambda m: {"seen": 1.0},
                   validate_every=10)
    assert history[-1]["step"] == 60 and history[-1]["task"] < 0.6 * history[0]["task"]


def test_clone_has_weights_of_its_own(tiny_host):
    copy = training.clone(tiny_host)
    _assert_same_weights(copy, tiny_host)
    copy.layers[1].kernel.assign(copy.layers[1].kernel * 2.0)
    assert not np.array_equal(copy.get_weights()[0], tiny_host.get_weights()[0])


def test_resumed_equals_uninterrupted(tiny_host, tiny_batches, tmp_path):
    once, twice = training.clone(tiny_host), training.clone(tiny_host)
    _fit(once, tiny_batches, steps=8, schedule="constant")

    class Killed(Exception):
        pass

    def kill(model):
        raise Killed

    _fit(twice, tiny_batches, steps=5, schedule="constant", folder=tmp_path)
    with pytest.raises(Killed):  # killed after the state was last saved, two steps in
        _fit(training.clone(tiny_host), tiny_batches, steps=8, schedule="constant", folder=tmp_path,
             validate=kill, validate_every=7)
    resumed = training.clone(tiny_host)
    _fit(resumed, tiny_batches, steps=8, schedule="constant", folder=tmp_path)
    _assert_same_weights(resumed, once)
    again = training.clone(tiny_host)
    _fit(again, tiny_batches, steps=8, schedule="constant", folder=tmp_path)  # nothing left to do
    _assert_same_weights(again, once)


def test_damaged_or_foreign_state_is_refused(tiny_host, tiny_batches, tmp_path):
    _fit(tiny_host, tiny_batches, steps=2, folder=tmp_path)
    state = tmp_path / "state.npz"
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match="delete it"):
        _fit(tiny_host, tiny_batches, steps=3, folder=tmp_path)
    with pytest.raises(OSError, match="delete it"):
        states.read_history(tmp_path)
    state.write_bytes(content)
    assert states.read_history(tmp_path)[-1]["step"] == 2
    with pytest.raises(OSError, match="delete it"):
        _fit(hosts.vdsr(depth=3, filters=4), tiny_batches, steps=3, folder=tmp_path)


def test_a_folder_of_another_recipe_is_refused(tiny_host, tiny_batches, tmp_path):
    """A sweep with one folder would report one model several times; a constant rate may go on for longer."""
    start = tiny_host.get_weights()
    _fit(tiny_host, tiny_batches, steps=2, folder=tmp_path)
    _fit(tiny_host, tiny_batches, steps=3, folder=tmp_path)
    for change in ({"learning_rate": 2e-3}, {"optimizer": "muon"}, {"clip": 1.0}, {"schedule": "cosine"}):
        tiny_host.set_weights(start)
        with pytest.raises(OSError, match="another key, network or recipe|damaged or of another model"):
            _fit(tiny_host, tiny_batches, steps=4, folder=tmp_path, **change)
        _assert_same_weights(tiny_host, _with(tiny_host, start))
    recipes = [Recipe(steps, 4, 1e-3) for steps in (5, 6)]
    assert states.identity("", recipes[0]) != states.identity("", recipes[1])  # the cosine's rates hang on the length


def _with(model, weights):
    copy = training.clone(model)
    copy.set_weights(weights)
    return copy


def test_a_folder_of_another_network_is_refused_by_those_who_train_on(tiny_host, tiny_batches, tmp_path):
    finetune(tiny_host, tiny_batches, steps=2, folder=tmp_path, compute=FLOAT32)
    other = _with(tiny_host, [2.0 * weights for weights in tiny_host.get_weights()])
    with pytest.raises(OSError, match="another key, network or recipe"):
        finetune(other, tiny_batches, steps=2, folder=tmp_path, compute=FLOAT32)


def test_a_folder_never_trained_in_has_no_history(tmp_path):
    assert states.read_history(tmp_path / "run") == [] and not list(tmp_path.iterdir())


def test_stops_when_the_loss_is_small_enough(tiny_host, tiny_batches):
    history = _fit(tiny_host, tiny_batches, steps=50, until={"task": 1e9})
    assert history[-1]["step"] == 1


def test_a_loss_that_is_not_finite_is_named(tiny_host, tiny_batches):
    def broken(model, X, Y):
        loss, parts = loss_fn(model, X, Y)
        return loss, parts | {"mark": loss * np.nan}

    with pytest.raises(FloatingPointError, match="mark loss is nan at step 1"):
        _fit(tiny_host, tiny_batches, steps=3, loss=broken)


def test_unknown_precision_lists_the_choices():
    with pytest.raises(ValueError, match="bfloat16, float32"):
        training.Compute("float8")


@pytest.mark.parametrize(("cpu", "narrow"), [("avx2 avx512_bf16", True), ("avx2", False)])
def test_bfloat16_is_for_a_cpu_that_has_it_and_precision_is_restored(cpu, narrow, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(cpu)
    monkeypatch.setattr(compute, "CPU_FLAGS", tmp_path / "cpuinfo")
    before = tf.config.optimizer.get_experimental_options()
    with training.Compute("bfloat16").active():
        assert tf.config.optimizer.get_experimental_options()[compute.BFLOAT16] is narrow
    after = tf.config.optimizer.get_experimental_options()
    assert after.get(compute.BFLOAT16, False) == before.get(compute.BFLOAT16, False)


@pytest.mark.skipif(training.Compute().effective == "float32", reason="no bfloat16 here: both would be float32")
def test_bfloat16_is_close_to_float32(tiny_host, tiny_batches):
    narrow = training.clone(tiny_host)
    wide_history = _fit(tiny_host, tiny_batches, steps=20)
    narrow_history = _fit(narrow, tiny_batches, steps=20, compute=training.Compute("bfloat16"))
    assert narrow_history[-1]["task"] == pytest.approx(wide_history[-1]["task"], rel=0.05)
    assert {variable.dtype for variable in narrow.variables} == {"float32"}


def test_xla_gives_the_same_step(tiny_host, tiny_batches):
    compiled = training.clone(tiny_host)
    _fit(tiny_host, tiny_batches, steps=2)
    _fit(compiled, tiny_batches, steps=2, compute=training.Compute("float32", xla=True))
    for a, b in zip(compiled.get_weights(), tiny_host.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4)  # Adam's first steps are signs; a rounding may turn one


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
from watermark import hosts, tasks, training

def loss_fn(model, X, Y):
    loss = tasks.task_loss(model, X, Y)
    return loss, {"task": loss}

keras.utils.set_random_seed(0)
host = hosts.fold_batch_norm(hosts.dncnn(depth=4, filters=8))
rng = np.random.default_rng(0)
data = tf.data.Dataset.from_tensors((rng.random((4, 12, 12, 1), np.float32), rng.random((4, 12, 12, 1), np.float32)))
moved, told = [], []
for strategy in (None, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    compute = training.Compute("float32", strategy=strategy)
    with compute.placement.scope():
        model = training.clone(host)
        optimizer = keras.optimizers.SGD(1e-3)
        optimizer.build(model.trainable_variables)
    assert compute.placement.num_replicas_in_sync == (2 if strategy else 1)
    batches = strategy.experimental_distribute_dataset(data) if strategy else data
    parts = training.train_step(model, loss_fn, optimizer, compute=compute)(next(iter(batches)))
    told.append(float(parts["task"]))
    moved.append([now - before for now, before in zip(model.get_weights(), host.get_weights(), strict=True)])
for one, two in zip(*moved, strict=True):
    size = np.abs(one).max()
    np.testing.assert_allclose(two, one, rtol=1e-2, atol=1e-2 * size)
assert max(np.abs(step).max() for step in moved[0]) > 1e-4
np.testing.assert_allclose(told[1], told[0], rtol=1e-4)
"""


def test_two_replicas_take_the_step_of_one():
    """Of plain gradient descent, which takes a gradient for what it is: Adam would step as far along twice of it."""
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS], cwd=Path(__file__).parents[1], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_strategy_of_one_replica_changes_nothing(tiny_host, tiny_batches):
    alone = training.clone(tiny_host)
    _fit(alone, tiny_batches, steps=2, learning_rate=1e-2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        mirrored = training.clone(tiny_host)
    _fit(mirrored, tiny_batches, steps=2, learning_rate=1e-2, compute=training.Compute("float32", strategy=strategy))
    for a, b in zip(mirrored.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_loss_taken_ahead_is_that_of_the_moved_weights(tiny_host, tiny_batches):
    """By hand: at the first step Adam's direction is the gradient's sign."""
    before = [w.copy() for w in tiny_host.get_weights()]
    X, Y = next(iter(tiny_batches(0)))
    with tf.GradientTape() as tape:
        loss = tasks.task_loss(tiny_host, X, Y)
    gradients = tape.gradient(loss, tiny_host.trainable_variables)
    share = 1e-2 * tf.random.stateless_uniform([], [1, 0])
    moved = training.clone(tiny_host)
    moved.set_weights([w - share * np.sign(g) for w, g in zip(before, gradients, strict=True)])
    def mark(model, X, Y):
        value = tf.reduce_sum(tf.square(model(X) - 0.5))
        return value, {"mark": value}

    history = _fit(tiny_host, tiny_batches, steps=1, lookahead=lookahead.Lookahead(mark, 1e-2))
    seen = float(tf.reduce_sum(tf.square(moved(X) - 0.5)))
    assert history[-1]["mark"] == pytest.approx(seen, rel=1e-3)
    assert history[-1]["task"] == pytest.approx(float(loss), rel=1e-4)


def test_a_loss_taken_ahead_resumes_too(tiny_host, tiny_batches, tmp_path):
    def mark(model, X, Y):
        value = tf.reduce_sum(tf.square(model(X) - 0.5))
        return value, {"mark": value}

    once, twice = training.clone(tiny_host), training.clone(tiny_host)
    ahead = lookahead.Lookahead(mark, 1e-2)
    _fit(once, tiny_batches, steps=4, lookahead=ahead)
    _fit(twice, tiny_batches, steps=2, lookahead=ahead, folder=tmp_path)
    resumed = training.clone(tiny_host)
    _fit(resumed, tiny_batches, steps=4, lookahead=ahead, folder=tmp_path)
    _assert_same_weights(resumed, once)


def test_muon_trains_further_than_adam_and_resumes_exactly(tiny_batches, tmp_path):
    keras.utils.set_random_seed(0)
    host = hosts.fold_batch_norm(hosts.dncnn(depth=5, filters=16))
    losses = {}
    for name in ("adam", "muon"):
        history = _fit(training.clone(host), tiny_batches, steps=100, learning_rate=2e-3, optimizer=name)
        losses[name] = history[-1]["task"]
    assert losses["muon"] < losses["adam"]
    once, twice = training.clone(host), training.clone(host)
    _fit(once, tiny_batches, steps=6, optimizer="muon")
    for steps in (4, 6):
        _fit(twice, tiny_batches, steps=steps, optimizer="muon", folder=tmp_path)
    _assert_same_weights(once, twice)


def test_a_kernels_muon_update_is_orthogonal():
    """Oracle: U V^T of the gradient's singular value decomposition; the first step's direction."""
    kernel = keras.Variable(np.zeros((3, 3, 16, 16), np.float32))
    gradient = np.random.default_rng(0).standard_normal(kernel.shape).astype(np.float32)
    optimizer = OPTIMIZERS["muon"](1.0)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
    update = -np.asarray(kernel).reshape(-1, 16)
    u, _, v = np.linalg.svd(gradient.reshape(-1, 16), full_matrices=False)
    assert np.sqrt(np.mean(update**2)) == pytest.approx(0.2, rel=0.3)
    assert metrics.ncc(update, u @ v) > 0.95
    singular = np.linalg.svd(update / (0.2 * np.sqrt(144)), compute_uv=False)
    assert 0.6 < singular.min() <= singular.max() < 1.3  # five Newton-Schulz steps come near 1, not to it


def test_scalars_for_tensorboard_and_the_best_model(tiny_host, tiny_batches, tmp_path):
    numbers = iter([20.0, 30.0, 25.0])
    kept = []

    def validate(model):
        kept.append(model.get_weights())
        return {"psnr": next(numbers)}

    _fit(tiny_host, tiny_batches, steps=6, validate=validate, validate_every=2, best="psnr", folder=tmp_path)
    best = keras.saving.load_model(tmp_path / "best.keras", safe_mode=True)
    for a, b in zip(best.get_weights(), kept[1], strict=True):
        np.testing.assert_array_equal(a, b)
    events = [event for path in tmp_path.glob("events*") for event in tf.compat.v1.train.summary_iterator(str(path))]
    found = {(event.step, value.tag): float(tf.make_ndarray(value.tensor)) for event in events
             for value in event.summary.value}
    assert [found[step, "psnr"] for step in (2, 4, 6)] == [20.0, 30.0, 25.0]
    assert np.isfinite(found[2, "task"])


def test_a_deadline_stops_and_the_same_call_goes_on(tiny_host, tiny_batches, tmp_path):
    once, twice = training.clone(tiny_host), training.clone(tiny_host)
    _fit(once, tiny_batches, steps=4)
    with pytest.raises(training.Stopped, match="after step 1 of 4"):
        _fit(twice, tiny_batches, steps=4, folder=tmp_path, deadline=0.0)
    _fit(twice, tiny_batches, steps=4, folder=tmp_path)
    _assert_same_weights(once, twice)


def test_until_on_a_finished_folder_does_nothing(tiny_host, tiny_batches, tmp_path):
    _fit(tiny_host, tiny_batches, steps=50, until={"task": 1e9}, folder=tmp_path)
    again = training.clone(tiny_host)
    assert _fit(again, tiny_batches, steps=50, until={"task": 1e9}, folder=tmp_path)[-1]["step"] == 1
    _assert_same_weights(again, tiny_host)
    with pytest.raises(ValueError, match="no part 'mark'; choose from task"):
        _fit(tiny_host, tiny_batches, until={"mark": 1.0})


@pytest.mark.parametrize("chunk", [3, 64])
def test_chunks_of_traced_steps_are_the_same_steps(chunk, tiny_host, tiny_batches, tmp_path):
    """As one by one, also where a chunk is cut: at the end, by a deadline, and by what is to be looked at."""
    once = training.clone(tiny_host)
    history = _fit(once, tiny_batches, steps=7)
    chunks = training.Compute("float32", chunk=chunk)
    whole, cut = training.clone(tiny_host), training.clone(tiny_host)
    found = _fit(whole, tiny_batches, steps=7, compute=chunks)
    _assert_same_weights(whole, once)
    assert found[-1]["task"] == history[-1]["task"] and found[-1]["step"] == 7
    with pytest.raises(training.Stopped, match=f"after step {min(chunk, 5)} of 7"):
        _fit(cut, tiny_batches, steps=7, compute=chunks, folder=tmp_path, deadline=0.0, validate=lambda model: {},
             validate_every=5)
    _fit(cut, tiny_batches, steps=7, compute=chunks, folder=tmp_path)
    _assert_same_weights(cut, once)


def test_a_loss_that_is_not_finite_is_named_within_a_chunk(tiny_host, tiny_batches):
    def broken(model, X, Y, step=tf.Variable(0)):
        loss, parts = loss_fn(model, X, Y)
        return loss, parts | {"mark": loss / tf.cast(4 - step.assign_add(1), tf.float32)}

    with pytest.raises(FloatingPointError, match="mark loss is inf at step 4"):
        _fit(tiny_host, tiny_batches, steps=6, loss=broken, compute=training.Compute("float32", chunk=6))


@pytest.fixture
def foreground():
    """Ctrl-C as at a terminal; a process in the background is deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_at_the_very_end_is_heard(tiny_host, tiny_batches, tmp_path, foreground):
    """Or the next training of a script would begin; nothing is lost."""
    once, again = training.clone(tiny_host), training.clone(tiny_host)
    _fit(once, tiny_batches, steps=6)
    with pytest.raises(training.Interrupted, match="after step 6 of 6"):
        _fit(training.clone(tiny_host), tiny_batches, steps=6, folder=tmp_path, validate_every=6,
             validate=lambda model: signal.raise_signal(signal.SIGINT) or {})
    _fit(again, tiny_batches, steps=6, folder=tmp_path)
    _assert_same_weights(again, once)


def test_ctrl_c_saves_at_once_and_says_where(tiny_host, tiny_batches, tmp_path, foreground):
    once, twice = training.clone(tiny_host), training.clone(tiny_host)
    _fit(once, tiny_batches, steps=6)

    def interrupt(model):
        signal.raise_signal(signal.SIGINT)
        return {}

    with pytest.raises(training.Interrupted, match="after step 3 of 6"):
        _fit(twice, tiny_batches, steps=6, folder=tmp_path, validate=interrupt, validate_every=2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _fit(twice, tiny_batches, steps=6, folder=tmp_path)
    _assert_same_weights(once, twice)


def test_seconds_are_summed_over_resumes(tiny_host, tiny_batches, tmp_path):
    _fit(tiny_host, tiny_batches, steps=2, folder=tmp_path)
    first = states.seconds(tmp_path)
    _fit(tiny_host, tiny_batches, steps=4, folder=tmp_path)
    assert states.seconds(tmp_path) > first > 0.0 == states.seconds(tmp_path / "never")


def test_an_average_of_the_weights_by_hand(tiny_host, tiny_batches, tmp_path):
    """w1, then m w1 + (1 - m) w2, and so on; resumed too."""
    seen = []
    plain, averaged, twice = (training.clone(tiny_host) for _ in range(3))
    _fit(plain, tiny_batches, steps=3, validate=lambda model: seen.append(model.get_weights()) or {}, validate_every=1)
    numbers = []
    _fit(averaged, tiny_batches, steps=3, average=0.75, validate_every=3,
         validate=lambda model: numbers.append(model.get_weights()) or {"psnr": len(numbers)})
    expected = seen[0]
    for weights in seen[1:]:
        expected = [0.75 * a + 0.25 * b for a, b in zip(expected, weights, strict=True)]
    for a, b in zip(averaged.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(numbers[0][0], seen[2][0])
    np.testing.assert_array_equal(numbers[1][0], averaged.get_weights()[0])
    for steps in (2, 3):
        _fit(twice, tiny_batches, steps=steps, average=0.75, folder=tmp_path)
        twice = twice if steps == 3 else training.clone(tiny_host)
    _assert_same_weights(twice, averaged)


def test_a_terminal_is_told_what_the_numbers_mean(tiny_host, tiny_batches, capfd, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    _fit(tiny_host, tiny_batches, steps=60, validate=lambda m: {"psnr": 30.0})
    said = capfd.readouterr().err
    assert said.count("task: Eq. (5) on the batch, per image") == said.count("psnr: of validation images, in dB") == 1


def test_a_file_is_told_nothing(tiny_host, tiny_batches, capfd):
    _fit(tiny_host, tiny_batches, steps=2)
    assert capfd.readouterr() == ("", "")
