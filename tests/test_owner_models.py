"""Networks with layers, sizes and layouts of their owner's; what `inspect` says of them; keys that are made to fit."""

import gc
import re
import weakref

import keras
import numpy as np
import pytest
from owners import LAYERS, QUICK, blur, denoiser, embedded, learner, pictures, unet, watermark

from watermark import data, forms, hosts, keys, models, preflight, tasks
from watermark.cli import embed, fitting_keys
from watermark.judgement import Judgement
from watermark.verification import Verdict

pytestmark = pytest.mark.usefixtures("known")


class WithAStep(keras.Model):
    """What many write: a functional network with a training step of its own."""

    def train_step(self, batch):
        return {}


def test_a_model_that_was_tried_is_not_kept():
    """What is known of its form is, as long as the model is there."""
    model = unet(1)
    assert forms.form(model) is forms.form(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("halvings", [0, 1, 3, 4, 5])
def test_the_sizes_that_a_network_takes_are_found(halvings):
    """Multiples of a power of two, by construction; keys and suggestions with them."""
    shape = forms.form(unet(halvings))
    assert shape == forms.Form((None, None), 2**halvings, 1, 1)
    assert shape.size(40) == {0: 40, 1: 40, 3: 40, 4: 48, 5: 64}[halvings]
    assert shape.fits(2**halvings, 3 * 2**halvings) and (halvings == 0) == shape.fits(41, 41)
    assert all(side % 2**halvings == 0 for side in fitting_keys.fitting_kind(shape, "denoise").sides)


@pytest.mark.parametrize("step", [3, 5, 7, 12, 24])
def test_windows_of_any_size_are_found(step):
    """A network that cuts its image into windows, as transformers do."""
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(step**2, step, strides=step)(image)
    assert forms.form(keras.Model(image, keras.layers.Conv2DTranspose(1, step, strides=step)(x))).step == step


def test_a_u_net_is_refused_before_anything_else_and_then_taken(photos, tmp_path, capsys, monkeypatch):
    """With the size to take; a key that keygen fits to it is taken. The training itself is left out, and its check."""
    code, said, out = embedded(capsys, unet(4), "nowhere", tmp_path, make=())
    assert code == 2 and "multiples of 16" in said and "keygen --size=48" in said and not out.exists()
    mine = f"--model={tmp_path}/mine.keras"
    assert watermark(capsys, "keygen", mine, f"--out={tmp_path}/fits.npz")[0] == 0
    assert keys.load_key(tmp_path / "fits.npz").kind.size == 48
    code, said, _ = watermark(capsys, "keygen", mine, "--size=40", f"--out={tmp_path}/no.npz")
    assert code == 2 and not (tmp_path / "no.npz").exists()
    with monkeypatch.context() as patch:
        patch.setattr(embed, "embed", lambda model, *args, **options: hosts.fold_batch_norm(model))
        patch.setattr(Verdict, "evident", True)
        patch.setattr(Judgement, "stands", True)
        code, said, why = watermark(capsys, "embed", mine, f"--images={photos}", f"--key={tmp_path}/fits.npz",
                                    f"--out={out}", *QUICK)
    assert code == 0 and "PSNR on 3" in said, why  # photographs of 60x70 are cut to what it takes
    code, said, _ = watermark(capsys, "verify", f"--suspect={out}", f"--key={tmp_path}/fits.npz", "--null_keys=100")
    assert code == 1 and said.startswith("NOT FOUND")
    assert watermark(capsys, "export", f"--model={out}", f"--out={tmp_path}/saved")[0] == 0
    code, _, why = watermark(capsys, "attack", "--kind=overwrite", f"--model={out}", f"--images={photos}",
                             f"--out={tmp_path}/over.keras", "--steps=1")
    assert code == 0, why


@pytest.mark.parametrize("fixed", [True, False])
def test_keys_that_are_not_square(fixed, tmp_path, capsys):
    """keygen --size=36x64, embed, verify; a network of that size alone, and one of any."""
    model = denoiser((36, 64) if fixed else (None, None))
    folder = pictures(tmp_path / "wide", sides=(40, 70))  # as high as a patch, not as wide
    code, said, marked = embedded(capsys, model, folder, tmp_path, "--steps=200", make=("--size=36x64",))
    assert code == 0, said
    assert keys.load_key(tmp_path / "k.npz").kind.sides == (36, 64)
    verify = ("verify", f"--suspect={marked}", "--null_keys=100")
    assert watermark(capsys, *verify, f"--key={tmp_path}/k.npz")[0] == 0
    if fixed:
        code, said, _ = watermark(capsys, "keygen", f"--model={tmp_path}/mine.keras", f"--out={tmp_path}/fits.npz")
        assert keys.load_key(tmp_path / "fits.npz").kind.sides == (36, 64)
        watermark(capsys, "keygen", "--size=64x36", f"--out={tmp_path}/turned.npz")
        code, _, said = watermark(capsys, "embed", f"--model={tmp_path}/mine.keras", f"--images={folder}",
                                  f"--key={tmp_path}/turned.npz", f"--out={tmp_path}/o.keras")
        assert code == 2 and "36x64 only" in said and "keygen --size=36x64" in said
    for size in ("12x", "x", "36x64x3", "wide"):
        code, _, said = watermark(capsys, "keygen", f"--size={size}", f"--out={tmp_path}/n.npz")
        assert code == 2 and "36x64" in said


def test_patches_that_are_not_square_are_cut_out_of_the_images():
    """Each is one of the image's own, upright or turned by half, mirrored or not: compared with all of them."""
    image = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)  # made smaller, it holds no patch
    whole = [image[:, j:j + 7] for j in range(3)]
    there = {patch.tobytes() for one in whole for turned in (one, one[::-1, ::-1])
             for patch in (turned, turned[:, ::-1])}
    _, targets = next(iter(data.denoising_batches([image], seed=0, batch_size=200, size=(6, 7), sigma=0)(0)))
    drawn = {np.ascontiguousarray(np.uint8(np.round(255 * patch[..., 0]))).tobytes() for patch in targets.numpy()}
    assert drawn == there and targets.shape == (200, 6, 7, 1)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_subclass_over_a_graph_is_its_graph(suffix, tmp_path):
    """Without its class, which is forgotten here; the answers are the same, and so are those of a network within it."""
    image = keras.Input((None, None, 1))
    inner = WithAStep(image, learner(image), name="inner")
    model = WithAStep(image, keras.layers.Add()([blur(image), inner(image)]), name="outer")
    model.save(tmp_path / f"m{suffix}")
    opened = models.load_model(tmp_path / f"m{suffix}")
    x = np.random.default_rng(0).random((1, 12, 12, 1), np.float32)
    np.testing.assert_allclose(opened.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    assert type(opened).__name__ == "Functional" and hosts.fold_batch_norm(opened)


def test_layers_of_the_owners_own(photos, tmp_path, capsys):
    """Refused with the flag to give, then marked and verified with it; the file's failures are said in one line."""
    (tmp_path / "my_layers.py").write_text(LAYERS)
    models.register_objects(tmp_path / "my_layers.py")
    own = dict(keras.saving.get_custom_objects())
    image = keras.Input((None, None, 1))
    x = own["DepthToSpace"](2)(keras.layers.Conv2D(4, 2, strides=2, kernel_initializer="zeros")(image))
    model = keras.Model(image, keras.layers.Add()([blur(image), x, learner(image)]))
    models.save_model(model, tmp_path / "mine.keras")
    keras.saving.get_custom_objects().clear()
    code, said, marked = embedded(capsys, f"{tmp_path}/mine.keras", photos, tmp_path)
    assert code == 2 and "DepthToSpace" in said and "--custom_objects=my_layers.py" in said and said.count("\n") == 1
    told = f"--custom_objects={tmp_path}/my_layers.py"
    code, said, why = watermark(capsys, "embed", f"--model={tmp_path}/mine.keras", f"--images={photos}",
                                f"--key={tmp_path}/k.npz", f"--out={marked}", *QUICK, told)
    assert code == 0, why
    keras.saving.get_custom_objects().clear()
    verify = ("verify", f"--suspect={marked}", f"--key={tmp_path}/k.npz", "--null_keys=100")
    code, _, said = watermark(capsys, *verify)
    assert code == 2 and "--custom_objects" in said
    assert watermark(capsys, *verify, told)[0] == 0
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    for file, why in (("broken.py", "ModuleNotFoundError"), ("none.py", "expected a Python file")):
        code, _, said = watermark(capsys, *verify, f"--custom_objects={tmp_path}/{file}")
        assert code == 2 and why in said and said.count("\n") == 1


def test_a_subclass_with_a_call_becomes_the_graph_of_that_call(tmp_path):
    """Where Keras can trace it; else one line says what to do."""
    (tmp_path / "my_layers.py").write_text(LAYERS + """

class Opaque(Subclassed):
    def call(self, x):
        import tensorflow as tf
        return tf.image.adjust_contrast(super().call(x), 1.5)
""")
    models.register_objects(tmp_path / "my_layers.py")
    x = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    model = keras.saving.get_custom_objects()["Subclassed"]()
    expected = np.array(model(x))
    model.save(tmp_path / "m.keras")
    opened = models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(opened.predict(x, verbose=0), expected, atol=1e-6)
    assert opened.input_shape == (None, None, None, 1)
    model = keras.saving.get_custom_objects()["Opaque"]()
    model(x)
    model.save(tmp_path / "o.keras")
    with pytest.raises(models.ModelError, match="holds a Opaque, whose layers cannot be seen.*make it functional"):
        models.load_model(tmp_path / "o.keras")


def test_channels_first_is_said_with_the_way_to_convert(tmp_path, capsys):
    """And that way works: the same weights in a network built in the other layout, by hand on the kernels."""

    def build(layout):
        shape = (1, None, None) if layout == "channels_first" else (None, None, 1)
        keras.config.set_image_data_format(layout)
        try:
            image = keras.Input(shape)
            x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
            x = keras.layers.BatchNormalization(axis=1 if layout == "channels_first" else -1)(x)
            return keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(x))
        finally:
            keras.config.set_image_data_format("channels_last")

    old = build("channels_first")
    models.save_model(old, tmp_path / "m.keras")
    code, said, _ = watermark(capsys, "inspect", f"--model={tmp_path}/m.keras")
    assert code == 1 and "can be marked  no:" in said
    assert re.search(r"channels_first, \[N, C, H, W\].*set_image_data_format.*set_weights\(old.get_weights", said)
    new = build("channels_last")
    new.set_weights(old.get_weights())
    assert forms.form(new).channels == 1
    image = keras.Input((1, None, None))
    turned = keras.layers.Permute((3, 1, 2))(denoiser()(keras.layers.Permute((2, 3, 1))(image)))
    with pytest.raises(models.ModelError, match="looks like channels_first.*Permute"):
        forms.form(keras.Model(image, turned))


def test_inspect_says_what_there_is_to_know(photos, tmp_path, capsys):
    """Of a network on [0, 255] with a norm that cannot be folded; of one that cannot be marked; of suspects."""
    image = keras.Input((None, None, 1))
    x = keras.layers.BatchNormalization()(keras.layers.ReLU()(learner(image)))
    host = denoiser(low=0.0, high=255.0)
    models.save_model(keras.Model(image, keras.layers.Add()([host(image), keras.layers.Rescaling(1e-3)(x)])),
                      tmp_path / "m.keras")
    code, said, _ = watermark(capsys, "inspect", f"--model={tmp_path}/m.keras", f"--images={photos}")
    assert code == 0, said
    for line in ("can be marked  yes", "key            watermark keygen --size=40", "range          [0, 255]: embed",
                 "--range=0,255", "sizes          any pixels", "norms          3: 2 folded, 1 frozen", "channels last",
                 "removing noise (σ = 25)", "doing nothing has 20."):
        assert line in said, (line, said)
    code, said, _ = watermark(capsys, "inspect", f"--suspect={tmp_path}/m.keras", f"--images={photos}")
    assert code == 0 and "--range=0,255" in said and "keygen --size=40" in said
    code, said, _ = watermark(capsys, "inspect", f"--suspect={tmp_path}/m.keras", f"--images={photos}", "--task=sr",
                              "--scales=2,3,4")
    assert code == 0 and "enlarging (2, 3, 4 times)" in said and " on 3 photographs" in said, said
    models.save_model(keras.Model(image, keras.layers.Conv2D(2, 3)(image)), tmp_path / "no.keras")
    code, said, _ = watermark(capsys, "inspect", f"--model={tmp_path}/no.keras")
    assert code == 1 and "expected the same size or a whole multiple" in said
    for arguments in ([], [f"--model={tmp_path}/m.keras", f"--suspect={tmp_path}/m.keras"]):
        assert watermark(capsys, "inspect", *arguments)[0] == 2
    frozen = denoiser()
    frozen.trainable = False
    rounded = keras.Model(image, keras.ops.round(255 * denoiser()(image)) / 255)
    half = keras.Sequential([image, keras.layers.Conv2D(1, 3, padding="same", dtype="float16")])
    lost = denoiser()
    lost.set_weights([np.full_like(weight, np.nan) for weight in lost.get_weights()])
    huge = keras.layers.Rescaling(1e38)
    dark = keras.Model(image, keras.layers.Add()([huge(huge(image)), learner(image)]))
    for model, why in ((rounded, "no gradient reaches a weight"), (frozen, "no trainable weights"),
                       (half, "weights in float16"), (lost, "no finite numbers"), (dark, "no finite numbers"),
                       (denoiser((8, 8)), "a K of 64 pixels, and fewer than 256")):
        models.save_model(model, tmp_path / "no.keras")
        code, said, error = watermark(capsys, "inspect", f"--model={tmp_path}/no.keras")
        assert code == 1 and why in said, error


@pytest.mark.parametrize("task", ["denoise", "sr"])
@pytest.mark.parametrize("side", [8, 15, 16, 24, 31, 32])
@pytest.mark.parametrize("scale", [1, 2])
def test_no_key_is_advised_that_keygen_refuses(scale, side, task, tmp_path, capsys):
    """What is advised is made, and fits; of less than 256 pixels, the least that are evidence, none is."""
    shape = forms.Form((side, side), 1, scale, 1)
    task = "sr" if scale > 1 else task
    told = fitting_keys.key_flags(shape, task)
    code = watermark(capsys, "keygen", *told.split(), f"--out={tmp_path}/k.npz")[0]
    assert bool(code) == bool(fitting_keys.too_small(shape, task)) == (side < 16)


def test_a_network_too_small_for_keys_is_said_to_be(photos, tmp_path, capsys):
    models.save_model(denoiser((8, 8)), tmp_path / "m.keras")
    assert watermark(capsys, "keygen", "--size=16", f"--out={tmp_path}/k.npz")[0] == 0
    for command in (["keygen", f"--out={tmp_path}/small.npz"],
                    ["embed", f"--images={photos}", f"--key={tmp_path}/k.npz", f"--out={tmp_path}/o.keras"]):
        code, _, said = watermark(capsys, *command, f"--model={tmp_path}/m.keras")
        assert code == 2 and "fewer than 256 are no evidence" in said and "keygen --size" not in said
    code, said, _ = watermark(capsys, "inspect", f"--suspect={tmp_path}/m.keras")
    assert code == 0 and "fewer than 256 are no evidence" in said and "keygen --size" not in said


@pytest.mark.parametrize(("flag", "why"), [
    ("--fixed_input=sigma:nan", "expected NAME:NUMBER"), ("--fixed_input=a:1,sigma:inf", "expected NAME:NUMBER"),
    ("--sigma=nan", "expected a finite number"), ("--sigma=inf", "expected a finite number")])
def test_numbers_that_are_none_are_refused(flag, why, tmp_path, capsys):
    models.save_model(denoiser(), tmp_path / "m.keras")
    code, _, said = watermark(capsys, "inspect", f"--model={tmp_path}/m.keras", flag)
    assert code == 2 and why in said and said.count("\n") == 1


def test_the_preflight_refuses_answers_that_are_no_numbers():
    """NaN and infinity are below everything, in one picture of four too; doing nothing has some dB."""
    images = [np.uint8(np.random.default_rng(i).integers(0, 255, (40, 40))) for i in range(4)]
    asked = []

    def answers(pixels):
        def answer(images):
            asked.append(1)
            return images if len(asked) % 4 else images + np.float32([np.nan, np.inf][len(asked) // 4 % 2])
        return answer

    found = preflight.measure(answers, forms.Form((None, None), 1, 1, 1), tasks.Denoising(25.0), images)
    assert set(found.psnr.values()) == {-np.inf} and np.isfinite(found.nothing) and found.gain == -np.inf
    with pytest.raises(models.ModelError, match="-inf dB"):
        preflight.check(found, None, "m.keras")


def test_keygen_takes_task_scale_size_and_channels_from_the_network(tmp_path, capsys):
    """A network that enlarges colour images twice, in multiples of 4; and one that takes the enlarged image."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2DTranspose(3, 4, strides=4)(keras.layers.Conv2D(4, 4, strides=4)(image))
    x = keras.layers.Add()([image, x])
    models.save_model(keras.Model(image, keras.layers.UpSampling2D()(x)), tmp_path / "m.keras")
    code, said, why = watermark(capsys, "keygen", f"--model={tmp_path}/m.keras", f"--out={tmp_path}/k.npz")
    assert code == 0 and "enlarging (2 times)" in said, why
    kind = keys.load_key(tmp_path / "k.npz").kind
    assert (kind.task, kind.size, kind.scale, kind.channels) == ("sr", 20, 2, 3)
    shape = forms.Form((None, None), 16, 1, 1)
    assert fitting_keys.fitting_kind(shape, "sr", 3).size == 32  # 96 pixels once enlarged, by hand
    told = fitting_keys.key_flags(forms.Form((24, 40), 1, 2, 3), "sr")
    assert told == "--task=sr --scale=2 --size=24x40 --channels=3"
