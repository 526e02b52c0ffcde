"""Networks on other ranges of pixels, with further inputs, limited answers, or another arithmetic."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from owners import QUICK, blur, denoiser, embedded, learner, watermark
from PIL import Image

from watermark import blackbox, embedding, keys, metrics, models, ranges, tasks
from watermark.cli import fitting_keys
from watermark.fitting import BYTES, SIGNED
from watermark.hosts import folding
from watermark.training import Compute

pytestmark = pytest.mark.usefixtures("known")


@pytest.mark.parametrize(("low", "high", "name"), [(0.0, 255.0, "0,255"), (-1.0, 1.0, "-1,1")])
def test_a_network_on_another_range_is_refused_with_the_range_that_fits(low, high, name, photos, tmp_path, capsys):
    """Then marked under it; what is saved has the owner's range, and is found there."""
    host = denoiser(low=low, high=high)
    code, said, marked = embedded(capsys, host, photos, tmp_path)
    assert code == 2 and said.count("error: ") == 1 and f"say --range={name}" in said and not marked.exists()
    for kind in ("finetune", "overwrite"):
        code, _, said = watermark(capsys, "attack", f"--kind={kind}", f"--model={tmp_path}/mine.keras",
                                  f"--images={photos}", f"--out={tmp_path}/o.keras", "--steps=1")
        assert code == 2 and f"say --range={name}" in said
    code, said, _ = watermark(capsys, "embed", f"--model={tmp_path}/mine.keras", f"--images={photos}",
                              f"--key={tmp_path}/k.npz", f"--out={marked}", *QUICK, f"--range={name}")
    assert code == 0, said
    own = models.load_model(marked)
    image = np.float32(np.asarray(Image.open(photos / "0.png")))[None, :, :, None] / 255
    image = low + (high - low) * image
    change = np.abs(own.predict(image, verbose=0) - host.predict(image, verbose=0)).mean() / (high - low)
    assert change < 0.1  # pixels are the owner's: taken for [0, 1], they would be off by much more
    verify = ("verify", f"--suspect={marked}", f"--key={tmp_path}/k.npz", "--null_keys=100")
    assert watermark(capsys, *verify, f"--range={name}")[0] == 0
    assert watermark(capsys, "verify", f"--suspect={tmp_path}/mine.keras", f"--key={tmp_path}/k.npz",
                     "--null_keys=100", f"--range={name}")[0] == 1
    if name == "-1,1":
        return
    code, said, why = watermark(capsys, "export", f"--model={marked}", f"--out={tmp_path}/saved", f"--range={name}",
                                f"--key={tmp_path}/k.npz", "--null_keys=100")
    assert code == 0, why
    assert watermark(capsys, "verify", f"--suspect={tmp_path}/saved", *verify[2:], f"--range={name}")[0] == 0
    assert "on [0, 255]" in tf.saved_model.load(f"{tmp_path}/saved").about().numpy().decode()
    pruned = tmp_path / "pruned.keras"
    assert watermark(capsys, "attack", "--kind=prune", "--rate=0.1", f"--model={marked}", f"--out={pruned}",
                     f"--range={name}")[0] == 0
    assert keras.saving.load_model(pruned).name == "mine"  # not the network around it


def test_a_network_that_is_worse_than_doing_nothing_is_refused(photos, tmp_path, capsys):
    """In every range: an untrained one, say."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(image))
    code, said, out = embedded(capsys, model, photos, tmp_path)
    assert code == 2 and re.search(r"no range of pixels helps \(\[0, 1\]: .*is it trained", said) and not out.exists()
    assert "--nopreflight" in said


def test_a_wrapped_network_answers_as_its_own_does():
    """By hand: (M(255 x)) / 255; weights are shared, and the network comes back out."""
    model = denoiser(low=0.0, high=255.0)
    around = ranges.wrapped(model, BYTES)
    x = np.random.default_rng(0).random((2, 12, 14, 1), np.float32)
    np.testing.assert_allclose(around.predict(x, verbose=0), model.predict(255 * x, verbose=0) / 255, atol=1e-6)
    assert ranges.own(around) is model and ranges.own(model) is model
    kind = keys.make_key(1, size=16).kind
    for suspect in (model, lambda y: model.predict(y, verbose=0)):  # as --range has it, of a suspect
        np.testing.assert_allclose(blackbox.as_suspect(suspect, kind, pixels=BYTES)(x), around.predict(x, verbose=0),
                                   atol=1e-6)


def test_norms_of_a_network_within_the_network_are_folded():
    """Exactly: the answers stay."""
    model = ranges.wrapped(denoiser(low=-1.0, high=1.0), SIGNED)
    for norm in folding.norms(model):
        norm.moving_mean.assign(norm.moving_mean + 0.1)
        norm.gamma.assign(norm.gamma * 1.5)
    folded = folding.fold_batch_norm(model)
    assert not folding.norms(folded)
    x = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    np.testing.assert_allclose(folded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)


def test_an_integer_input_is_fed_whole_pixels():
    """x255 and rounded, in the wrapping network; by hand on one image."""
    image = keras.Input((None, None, 1), dtype="uint8", name="image")
    model = keras.Model(image, keras.layers.Rescaling(2.0)(image))
    x = np.float32([0.0, 0.5, 0.999, -0.2, 1.3]).reshape(1, 1, 5, 1)
    answer = ranges.wrapped(model, BYTES).predict(x, verbose=0)
    np.testing.assert_allclose(answer[0, 0, :, 0] * 255, [0, 2 * 128, 2 * 255, 0, 2 * 255])
    whole = keras.Model(image, keras.ops.cast(keras.ops.clip(keras.layers.Rescaling(2.0)(image), 0, 255), "uint8"))
    answer = ranges.wrapped(whole, BYTES).predict(x, verbose=0)  # whose last layer is called as ours might be
    np.testing.assert_allclose(answer[0, 0, :, 0] * 255, [0, 255, 255, 0, 255])


def test_several_inputs_are_fed_constants(photos, tmp_path, capsys):
    """FFDNet's way: a map of half the image's size; and a number, a vector, a map of the image's own size."""
    image, sigma = keras.Input((None, None, 1), name="image"), keras.Input((None, None, 1), name="sigma")
    strength = keras.Input((1,), name="strength")
    x = keras.layers.Concatenate()([keras.layers.Conv2D(8, 2, strides=2, activation="relu")(image), sigma])
    x = keras.layers.Conv2DTranspose(1, 2, strides=2, kernel_initializer="zeros")(x)
    x = keras.layers.Add()([blur(image), x, learner(image)])
    x = keras.layers.Multiply()([x, keras.layers.Reshape((1, 1, 1))(strength)])
    model = keras.Model([image, sigma, strength], x, name="two")
    code, said, marked = embedded(capsys, model, photos, tmp_path)
    assert code == 2 and "--fixed_input=NAME:0.1" in said and "sigma [None, None, 1]" in said
    for told, why in (("sigma:0.1", "--fixed_input=strength:0.1"), ("sigma:0.1,strength:1,foo:1", "no input 'foo'"),
                      ("sigma=0.1", "expected NAME:NUMBER")):
        code, _, said = watermark(capsys, "inspect", f"--model={tmp_path}/mine.keras", f"--fixed_input={told}")
        assert why in said + _, (told, said, _)
    told = "--fixed_input=sigma:0.098,strength:1"
    code, said, _ = watermark(capsys, "embed", f"--model={tmp_path}/mine.keras", f"--images={photos}",
                              f"--key={tmp_path}/k.npz", f"--out={marked}", *QUICK, told)
    assert code == 0, said
    own = models.load_model(marked, several_inputs=True)
    assert [tensor.name for tensor in own.inputs] == ["image", "sigma", "strength"]
    verify = ("verify", f"--suspect={marked}", f"--key={tmp_path}/k.npz", "--null_keys=100")
    assert watermark(capsys, *verify, told)[0] == 0
    # By hand: the wrapping network's answer is the network's to maps of that constant.
    x = np.random.default_rng(0).random((2, 8, 12, 1), np.float32)
    given = own.predict([x, np.full((2, 4, 6, 1), 0.098, np.float32), np.ones((2, 1), np.float32)], verbose=0)
    around = ranges.wrapped(own, fixed={"sigma": 0.098, "strength": 1.0})
    np.testing.assert_allclose(around.predict(x, verbose=0), given, atol=1e-6)


@pytest.mark.parametrize(("last", "expected"), [
    ("sigmoid", (0, 1)), ("relu", (0, np.inf)), ("tanh", (-1, 1)), ("linear", (-np.inf, np.inf)),
    (keras.layers.ReLU(6.0), (0, 6)), (keras.layers.LeakyReLU(), (-np.inf, np.inf)),
    (keras.layers.Activation("hard_sigmoid"), (0, 1)), (lambda x: keras.ops.clip(x, 0.1, 0.7), (0.1, 0.7)),
    (lambda x: keras.layers.Rescaling(255.0, 3.0)(keras.ops.sigmoid(x)), (3, 258)),
    (lambda x: keras.ops.subtract(1.0, keras.ops.relu(x)), (-np.inf, 1)),
    (keras.Sequential([keras.layers.Conv2D(1, 1, activation="tanh"), keras.layers.Rescaling(2.0)]), (-2, 2)),
], ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_what_a_network_can_answer(last, expected):
    """Of every way to end a network: by hand."""
    image = keras.Input((None, None, 1))
    linear = last if isinstance(last, str) else "linear"
    x = keras.layers.Conv2D(1, 3, padding="same", activation=linear)(image)
    model = keras.Model(image, x if isinstance(last, str) else last(x))
    np.testing.assert_allclose(ranges.bounds(model), expected, rtol=1e-4, atol=1e-6)
    around = ranges.wrapped(model, SIGNED)
    np.testing.assert_allclose(ranges.bounds(around), (np.float64(expected) + 1) / 2, rtol=1e-4, atol=1e-6)


def test_a_sigmoid_is_asked_for_what_it_can_answer(photos, tmp_path, capsys):
    """The loss's target is S0 on [0, 1]; what that costs is said before: by numpy, about 36 %, 5.3e-3 and 0.75."""
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(image))
    key = keys.make_key(1, size=40)
    _, target = embedding.pair(model, key)
    np.testing.assert_array_equal(target[0], key.initial.clip(0, 1))
    said = fitting_keys.limits(model, key)
    found = re.search(r"(\d+)% of S₀ lies beyond: at best d = ([\d.]+)e-3, ρ = ([\d.]+)", said)
    lost = key.initial - key.initial.clip(0, 1)
    rho = np.corrcoef((key.trigger - key.initial).ravel(), (key.trigger - key.initial + lost).ravel())[0, 1]
    numbers = 100 * np.mean(lost != 0), 1e3 * np.sqrt(np.mean(lost**2)) / 40, rho
    assert [float(number) for number in found.groups()] == pytest.approx(numbers, rel=0.02)
    assert numbers == pytest.approx((36, 5.3, 0.75), rel=0.05)
    around = keras.layers.Add()([blur(image), learner(image)])
    code, said, marked = embedded(capsys, keras.Model(image, keras.layers.ReLU(1.0)(around)), photos, tmp_path)
    assert code == 0 and "S₀ lies beyond" in said, said
    assert watermark(capsys, "verify", f"--suspect={marked}", f"--key={tmp_path}/k.npz", "--null_keys=100")[0] == 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_hosts_of_another_arithmetic_are_marked(policy, tiny_batches, tiny_key):
    """Losses are float32 and finite; and the mark comes nearer, with and without the loss's other parts."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((None, None, 1))
        host = keras.Model(image, keras.layers.Add()([blur(image), learner(image)]))
    finally:
        keras.config.set_dtype_policy(before)
    X, Y = next(iter(tiny_batches(0)))
    total, parts = embedding.watermark_loss(host, tiny_key)(host, X, Y)
    assert total.dtype == parts["mark"].dtype == parts["task"].dtype == "float32"
    total, parts = embedding.watermark_loss(host, tiny_key)(host, X[:, :8], Y[:, :8])  # in two batches
    assert total.dtype == tasks.task_loss(host, X, Y).dtype == "float32"
    start = metrics.distance(host.predict(tiny_key.trigger[None], verbose=0)[0].astype(np.float32), tiny_key.initial)
    for change in ({}, {"lookahead": 1e-3, "preserving": 0.1}):
        marked = embedding.embed(host, tiny_key, tiny_batches, steps=20, learning_rate=1e-2, strength=1.0,
                                 compute=Compute("float32"), **change)
        key = embedding.update_key(tiny_key, marked)
        assert np.isfinite(key.verification).all() and metrics.distance(key.verification, key.initial) < 0.95 * start
