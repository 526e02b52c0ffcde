"""Networks and arguments that owners come with: marked as they are, or refused in a line that says the way."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from owners import QUICK, blur, denoiser, learner, pictures, watermark

from watermark import blackbox, data, embedding, exporting, forms, hosts, keys, losses, models, ranges, training
from watermark import verification as v
from watermark.attacks.pruning import prune
from watermark.data import folders
from watermark.errors import ModelError
from watermark.fitting import BYTES
from watermark.hosts.folding import code_alone, fold_batch_norm

IMAGES = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with photos, and a key in it."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", sides=(70, 80))
    return tmp_path


def _shuffled():
    """A denoiser whose last layer is a pixel shuffle by a Python lambda, within a network within it."""
    image = keras.Input((None, None, 1))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, 2, padding="same"), keras.layers.BatchNormalization(),
                              keras.layers.Lambda(lambda x: tf.nn.depth_to_space(x, 2))])
    return keras.Model(image, inner(image))


@pytest.mark.parametrize("copied", [training.clone, fold_batch_norm])
@pytest.mark.parametrize("on", [None, BYTES])
def test_a_lambda_is_shared_by_copies(copied, on):
    """Oracle: the network's own answers. Keras refuses to copy code."""
    model = _shuffled() if on is None else ranges.wrapped(_shuffled(), on)
    copy = copied(model)
    np.testing.assert_allclose(copy(IMAGES), model(IMAGES), atol=1e-5)
    ours, theirs = (next(filter(code_alone, hosts.folding.every_layer(m))) for m in (copy, model))
    assert ours is theirs
    assert np.count_nonzero(prune(model, 0.5).get_weights()[0]) == model.get_weights()[0].size / 2


def test_a_network_with_a_lambda_is_marked(here, capsys):
    """From the command line, as docs/guide.md says."""
    image = keras.Input((None, None, 1))
    x = keras.layers.Add()([blur(image), learner(image, 4)])
    models.save_model(keras.Model(image, keras.layers.Lambda(lambda x: x * 1.0)(x)), "mine.keras")
    assert watermark(capsys, "keygen", "--size=16", "--owner=Ada", "--out=key.npz")[0] == 0
    code, said, why = watermark(capsys, "embed", "--model=mine.keras", "--allow_lambda", "--images=photos",
                                "--key=key.npz", "--out=marked.keras", *QUICK, "--steps=300")
    assert code == 0, why
    assert "the marked model" in said


def test_weights_that_the_loss_does_not_hang_on_stay(tiny_key, tiny_batches):
    """Those of another output, which a wrapped network keeps as one with its own. Oracle: they are what they were."""
    image = keras.Input((None, None, 1))
    one, two = (keras.layers.Conv2D(1, 3, padding="same", name=name) for name in ("one", "two"))
    model = ranges.wrapped(keras.Model(image, {"one": one(image), "two": two(image)}), BYTES, output="one")
    marked = embedding.embed(model, tiny_key, tiny_batches, steps=2, output="one")
    before, after = (ranges.own(m).get_layer("two").get_weights()[0] for m in (model, marked))
    np.testing.assert_array_equal(before, after)
    before, after = (ranges.own(m).get_layer("one").get_weights()[0] for m in (model, marked))
    assert np.abs(before - after).max() > 0


def test_a_loss_that_no_weight_is_reached_from_is_refused():
    w = tf.Variable(1.0)
    with tf.GradientTape() as tape:
        loss = tf.cast(tf.cast(w, tf.int32), tf.float32)
    with pytest.raises(ModelError, match="round or cast"):
        losses.taken(tape, loss, [w])


class _Cast(keras.layers.Layer):
    def call(self, x):
        return keras.ops.cast(x, "uint8")


@pytest.mark.parametrize("layer, words", [
    (_Cast(), "answers in uint8"),
    (lambda x: keras.layers.Dropout(0.5)(x, training=True), r"always in training \(training=True: dropout"),
    (lambda x: keras.layers.BatchNormalization()(x, training=True), "always in training"),
])
def test_a_network_that_no_training_reaches_is_refused(layer, words):
    image = keras.Input((None, None, 1))
    with pytest.raises(ModelError, match=words):
        forms.check_weights(keras.Model(image, layer(keras.layers.Conv2D(1, 3, padding="same")(image))))


def test_norms_that_are_always_in_training_are_not_folded():
    """Oracle: the model itself, whose norm answers by the batch's statistics."""
    image = keras.Input((None, None, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3, padding="same")(image), training=True)
    model = keras.Model(image, x)
    np.testing.assert_allclose(fold_batch_norm(model)(IMAGES), model(IMAGES), atol=1e-5)


def test_what_has_no_kernels_is_not_said_to_be_pruned():
    image = keras.Input((None, None, 1))
    with pytest.raises(ModelError, match="no weights called kernel"):
        prune(keras.Model(image, keras.layers.BatchNormalization()(image)), 0.3)


def test_one_mark_does_not_replace_anothers_s(tmp_path, caplog):
    """Nor is an unmarked network taken for the marked one without a word."""
    key, host = keys.make_key("a long random secret", size=16, owner="Ada"), hosts.dncnn(depth=3, filters=4)
    marked = keys.with_verification(key, key.initial * np.float32(0.9))
    keys.save_key(marked, tmp_path / "key.npz")
    with pytest.raises(FileExistsError, match="is not this key or its mark"):
        keys.save_key(embedding.update_key(key, host), tmp_path / "key.npz")
    assert "the mark has not taken" in caplog.text
    keys.save_key(marked, tmp_path / "key.npz")
    np.testing.assert_array_equal(keys.load_key(tmp_path / "key.npz").verification, marked.verification)


def test_two_outputs_are_not_exported_as_one_without_a_word(here, capsys):
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(1, 3, padding="same")(image)
    model = keras.Model(image, {"picture": keras.layers.Identity(name="picture")(x),
                                "mask": keras.layers.Conv2D(1, 1, name="mask")(x)})
    models.save_model(model, "two.keras")
    code, _, why = watermark(capsys, "export", "--model=two.keras", "--output=picture", "--out=one.keras")
    assert code == 0 and "has the output picture alone, without mask" in why
    with pytest.raises(ModelError, match="has the outputs .*; expected one: .*single_output"):
        exporting.export(model, "both.keras")
    assert not (here / "both.keras").exists()


@pytest.mark.parametrize("first, second", [("", "--sign=other.pem"), ("--sign=other.pem", "--sign=typo.pem")])
def test_a_second_commitment_is_signed_by_who_signed_the_first(first, second, here, capsys):
    assert watermark(capsys, "keygen", "--size=16", "--owner=Ada", "--out=key.npz", first or "--sign=ada.pem")[0] == 0
    assert watermark(capsys, "keygen", "--size=16", "--owner=Bob", "--out=bob.npz", "--sign=other.pem")[0] == 0
    models.save_model(denoiser(), "mine.keras")
    code, _, why = watermark(capsys, "embed", "--model=mine.keras", "--images=photos", "--key=key.npz", second,
                             "--out=marked.keras", *QUICK)
    assert code == 2 and ("another key than the one that signed" in why or "typo.pem" in why)
    assert not (here / "typo.pem").exists()


@pytest.mark.parametrize("flags, words", [
    (["--model=larger.keras"], "this one enlarges 2 times; expected --task=sr"),
    (["--model=noise.keras"], "it answers with the noise"),
    (["--model=half.keras"], r"it takes pixels on \[0, 255\] and answers on \[0, 1\]"),
    (["--model=wide.keras", "--patch=20"], "--patch=20: the model takes images of 36x64 pixels; leave it out"),
])
def test_refusals_say_the_way(flags, words, here, capsys):
    image = keras.Input((None, None, 1))
    byte = denoiser(low=0.0, high=255.0)
    for name, model in {
        "larger": keras.Model(image, keras.layers.UpSampling2D()(learner(image, 4))),
        "noise": keras.Model(image, keras.layers.Subtract()([image, denoiser()(image)])),
        "half": keras.Model(byte.inputs, keras.layers.Rescaling(1 / 255)(byte.outputs[0])),
        "wide": denoiser((36, 64)),
    }.items():
        models.save_model(model, f"{name}.keras")
    size = "--size=36x64" if "wide" in flags[0] else "--size=16"
    sr = ["--task=sr", "--scale=2"] if "larger" in flags[0] else []
    assert watermark(capsys, "keygen", size, *sr, "--owner=Ada", "--out=key.npz")[0] == 0
    code, _, why = watermark(capsys, "embed", *flags, "--images=photos", "--key=key.npz", "--out=marked.keras")
    assert code == 2
    assert re.search(words, why), why


def test_photos_beyond_the_machines_memory_are_not_all_read(here, monkeypatch):
    """Oracle: arithmetic, on a machine for one image in nine times its bytes."""
    (first, *_) = images = list(data.folder_images(here / "photos").values())
    assert len(images) > 1
    monkeypatch.setattr(folders, "memory", lambda: folders.TIMES * first.nbytes)
    with pytest.raises(data.DataError, match="the first 2 of .* have 0.0 GiB of pixels"):
        data.folder_images(here / "photos")


class _Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = keras.layers.Conv2D(1, 3, padding="same")

    def call(self, x):
        return self.last(x)


def test_a_subclass_can_be_asked_and_not_marked(tiny_key, tiny_batches):
    model = _Subclass()
    answer = blackbox.answer(model, tiny_key)
    np.testing.assert_allclose(answer, model(tiny_key.trigger[None])[0], atol=1e-6)
    assert not v.verify(model, tiny_key, null_keys=20).evident
    with pytest.raises(ModelError, match="layers cannot be seen; expected a functional"):
        embedding.embed(_Subclass(), tiny_key, tiny_batches)


def test_arguments_in_the_wrong_order_are_named(tiny_key, tiny_host):
    with pytest.raises(TypeError, match="key: expected a Key, got .*watermark.load_key"):
        v.verify(tiny_key, tiny_host)


def test_the_last_layers_of_large_networks_are_tried_in_pieces(monkeypatch):
    """Oracle: the same bounds at once, and no more numbers at once than asked."""
    image = keras.Input((32, 32, 1))
    model = keras.Model(image, keras.layers.Activation("sigmoid")(keras.layers.Conv2D(4, 3, padding="same")(image)))
    x = keras.layers.Rescaling(2.0)(model.outputs[0])
    asked, function = [], keras.Function

    def watched(inputs, outputs):
        run = function(inputs, outputs)
        return lambda x: asked.append(x.shape) or run(x)

    monkeypatch.setattr(keras, "Function", watched)
    monkeypatch.setattr(ranges, "PIECE", 32 * 32 * 4 * 100)
    assert ranges.bounds(keras.Model(image, x)) == (0.0, 2.0)
    assert len(asked) == 9 and max(shape[0] for shape in asked) <= 100
    assert sum(shape[0] for shape in asked) == len(ranges.LEVELS)
