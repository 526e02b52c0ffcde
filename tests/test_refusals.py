"""What cannot come to anything is refused first, in a line. Oracles: exit codes, and the files as they were."""

import errno
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from owners import denoiser, watermark
from PIL import Image

from watermark.lab import scripts
from watermark import (
    blackbox,
    commitments,
    embedding,
    errors,
    exporting,
    files,
    fitting,
    inference,
    keys,
    models,
    several,
    suspects,
    tasks,
)
from watermark.cli import common
from watermark.forms import Form
from watermark.models import ModelError
from watermark.suspects import folder


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An owner's folder, which is where the test is."""
    monkeypatch.chdir(tmp_path)
    models.save_model(denoiser(), "mine.keras")
    keys.save_key(keys.make_key("a secret", size=16, owner="Ada"), "k.npz")
    return tmp_path


def _refused(capsys, *command):
    """What a command that ends in an error says, in its one line."""
    code, _, said = watermark(capsys, *command)
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("command", [
    "keygen --out=sg.npz --sign=", "keygen --out=sg.npz --range= --model=mine.keras",
    "verify --suspect=mine.keras --key=k.npz --fresh_seed=", "verify --suspect=mine.keras --key=k.npz --bare_seed=",
    "verify --suspect=mine.keras --key=k.npz --tsa_roots=", "export --model=mine.keras --out=m.tflite --key="])
def test_an_empty_variable_drops_no_check(command, mine, capsys):
    said = _refused(capsys, *command.split())
    assert "=: expected a value, got none; is a variable empty?" in said and not (mine / "sg.npz").exists()


def test_flags_that_may_be_empty_say_so():
    """Oracle: their help."""
    values = flags.FlagValues()
    for name, text in (("owner", "whom; may be empty"), ("sign", "a key"), ("seed", "a number")):
        flags.DEFINE_string(name, None, text, flag_values=values)
    values(["x", "--owner=", "--seed=0"])
    several.check_given(values)
    values(["x", "--sign= "])
    with pytest.raises(ValueError, match="--sign=: expected a value"):
        several.check_given(values)


@pytest.mark.parametrize(("command", "why"), [
    ("keygen --out=n.npz --output=foo", "--output is for --model"),
    ("keygen --out=n.npz --range=0,255", "--range is for --model"),
    ("inspect k.npz --images=/nowhere", "--images is not for a FILE"),
    ("inspect --model=mine.keras --task=sr", "--task is for --images"),
    ("attack --kind=prune --model=mine.keras --out=p.keras --sigma=50", "--sigma is for --images"),
    ("attack --kind=forge --by=declare --tries=5 --model=mine.keras --out=f.npz", "--tries is for --by=draw"),
    ("verify --suspect=mine.keras --suspect=mine.keras --key=k.npz --verifier=me", "--verifier is for one suspect"),
    ("embed --key=k.npz --out=x.keras", "--model=… is needed")])
def test_a_flag_that_nothing_looks_at_is_refused(command, why, mine, capsys):
    assert why in _refused(capsys, *command.split())
    assert sorted(path.name for path in mine.iterdir()) == ["k.npz", "mine.keras"]


def test_no_flag_puts_a_line_into_what_is_printed(mine, capsys):
    """Such as FOUND, which scripts look for."""
    said = _refused(capsys, "verify", "--suspect=x\nFOUND", "--key=k.npz")
    assert "--suspect: expected text without line ends" in said and "FOUND" not in said


@pytest.mark.parametrize("command", ["demo --out={}", "keygen --out={}/k.npz", "export --model=mine.keras --out={}/m",
                                     "export --model=mine.keras --out={}/m.tflite",
                                     "verify --suspect=mine.keras --key=k.npz --report={}/r.html",
                                     "attack --kind=prune --model=mine.keras --out={}/m.keras"])
@pytest.mark.parametrize("place", ["/proc/new", "k.npz"])
def test_where_nothing_can_be_written_nothing_is_begun(command, place, mine, capsys):
    """To root, permissions allow everything in /proc."""
    assert "cannot be written: " in _refused(capsys, *command.format(place).split())
    assert sorted(path.name for path in mine.iterdir()) == ["k.npz", "mine.keras"]


def test_a_place_is_tried_and_nothing_left(tmp_path):
    files.check_place(tmp_path / "new" / "m.keras", "--out=…")
    assert not list(tmp_path.iterdir())


def test_a_report_that_is_there_stays(mine, capsys):
    (mine / "r.html").write_text("of last week")
    said = _refused(capsys, "verify", "--suspect=mine.keras", "--key=k.npz", "--report=r.html")
    assert "--report=r.html exists and is not overwritten" in said
    assert (mine / "r.html").read_text() == "of last week"


@pytest.mark.parametrize("command", ["export --out=m.tflite", "export --out=m", "attack --kind=prune --out=m.keras",
                                     "attack --kind=forge --size=16 --out=m.npz", "keygen --out=m.npz"])
def test_a_network_without_finite_weights_goes_nowhere(command, mine, capsys):
    lost = denoiser()
    lost.set_weights([np.full_like(weight, np.nan) for weight in lost.get_weights()])
    models.save_model(lost, "lost.keras")
    assert "no finite numbers" in _refused(capsys, *command.split(), "--model=lost.keras")
    assert not list(mine.glob("m*npz")) and {path.name for path in mine.glob("m*")} == {"mine.keras"}


def test_an_export_of_answers_without_finite_numbers_is_an_error(tmp_path):
    """Weights are finite, answers not."""
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.ops.log(keras.layers.Conv2D(1, 1, kernel_initializer="zeros")(image) - 1.0))
    with pytest.raises(ModelError, match="is of no use: .* no finite numbers"):
        exporting.export(model, tmp_path / "m.keras", "keras")


def test_export_takes_models_and_replaces_no_file(tmp_path):
    (path := tmp_path / "m.tflite").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match="exists and is not overwritten"):
        exporting.export(denoiser(), path, "tflite")
    assert path.read_bytes() == b"somebody's"
    with pytest.raises(TypeError, match="model: expected a Model, got str; .*load_model"):
        exporting.export("m.keras", tmp_path / "n.tflite", "tflite")
    with pytest.raises(TypeError, match="key: expected a Key, got str; .*load_key"):
        exporting.export(denoiser(), tmp_path / "n.tflite", "tflite", key="k.npz")


def test_too_little_memory_or_disk_is_said(tmp_path, mine, monkeypatch, capsys):
    """Oracles: TensorFlow's own words on memory, and the system's on a disk that is full, /dev/full."""
    lack = tf.errors.ResourceExhaustedError(None, None, "{{function_node __wrapped__IteratorGetNext}} OOM when allo")
    assert errors.told(lack).startswith("out of memory; lower --batch_size or --patch")
    assert "\n" not in errors.told(lack)
    full = tf.errors.ResourceExhaustedError(None, None, "m/variables; No space left on device")
    assert errors.told(full).startswith("No space left on the disk; free some")
    with pytest.raises(OSError, match="No space left") as error, open("/dev/full", "w") as file:
        file.write("x")
    with pytest.raises(OSError, match="No space left") as named, files.atomic_write(tmp_path / "m.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert errors.told(error.value).startswith("No space left on the disk")
    assert f"No space left on the disk of {tmp_path / 'm.txt'};" in errors.told(named.value)
    monkeypatch.setattr(common, "check_place", lambda *_: (_ for _ in ()).throw(lack))
    assert "out of memory" in _refused(capsys, "attack", "--kind=prune", "--out=m.keras")


def test_the_environments_folder_of_image_sets_is_looked_at_too(tmp_path, monkeypatch):
    """As --data_dir is: stand-ins would be taken for the images that were meant."""
    given = SimpleNamespace(profile="smoke", trials=None, first_seed=0, data_dir=None, pictures="drawn",
                            workdir=tmp_path / "runs", precision="float32")
    monkeypatch.setattr(scripts, "FLAGS", given)
    monkeypatch.setenv("WATERMARK_DATA", str(tmp_path))
    assert scripts.lab().workdir == tmp_path / "runs"
    monkeypatch.setenv("WATERMARK_DATA", "/nonexistent-data")
    with pytest.raises(ValueError, match="WATERMARK_DATA=/nonexistent-data: no such folder"):
        scripts.lab()


@pytest.mark.parametrize(("command", "why"), [
    ("embed --learning_rate=-1", "learning_rate: expected a finite number above 0"),
    ("embed --strength=-1", "strength: expected a finite number, 0 or more"),
    ("embed --images=none --scales=3", "--scales is for --task=sr, this is --task=denoise"),
    ("embed --pairs=a,b", "--pairs is for --task=pairs, this is --task=denoise"),
    ("embed --task=pairs --pairs=a,b --sigma=5", "--sigma is for --task=denoise, this is --task=pairs"),
    ("embed --task=pairs --pairs=a,b --images=none", "--images is for --task=denoise or sr"),
    ("verify --tsa_roots=r.pem", "--tsa_roots are the certificates behind a --timestamp, which is not given"),
    ("verify --visualizer=R.keras", "--visualizer makes a picture for the --report, which is not given"),
    ("verify --write_queries=q", "--suspect is for a verification, and --write_queries asks nobody"),
    ("verify --payload=json", "--payload is for a suspect that is a URL; leave it out"),
    ("verify --transcript=t.txt", "--transcript is for a suspect that is a URL; leave it out")])
def test_what_would_be_ignored_is_said_before_images_are_read(command, why, mine, capsys):
    """No folder of images is there: whatever reads them says so."""
    verb, *more = command.split()
    what = ["--suspect=mine.keras"] if verb == "verify" else ["--model=mine.keras", "--out=m.keras"]
    assert why in _refused(capsys, verb, *more, *what, "--key=k.npz")
    assert sorted(path.name for path in mine.iterdir()) == ["k.npz", "mine.keras"]


@pytest.mark.parametrize(("flags", "why"), [
    ("--kind=finetune --rate=1e-5", "--rate is for --kind=prune, this is --kind=finetune"),
    ("--kind=prune --steps=77", "--steps is for --kind=finetune or overwrite, this is --kind=prune"),
    ("--kind=prune --by=gradient", "--by is for --kind=forge, this is --kind=prune"),
    ("--kind=finetune --strength=1", "--strength is for --kind=overwrite"),
    ("--kind=forge --images=none", "--images is for --kind=finetune or overwrite or prune")])
def test_a_flag_of_another_attack_is_no_flag_of_this_one(flags, why, mine, capsys):
    """--rate, meant as a learning rate, would fine-tune at the usual one."""
    assert why in _refused(capsys, "attack", *flags.split(), "--model=mine.keras", "--out=m.keras")


def test_a_signing_key_is_not_put_where_the_key_goes(mine, capsys):
    """The commitment would be to a key that is nowhere."""
    for name in ("new.npz", "./new.commitment.json", "new.commitment.tsq"):
        assert "give the private key another name" in _refused(capsys, "keygen", "--out=new.npz", f"--sign={name}")
    assert not list(mine.glob("new*"))


def test_fewer_fresh_keys_than_find_a_mark_are_refused(mine, capsys):
    """Not "the mark is NOT found", of one that is there."""
    said = _refused(capsys, "export", "--model=mine.keras", "--out=m.tflite", "--key=k.npz", "--null_keys=19")
    assert "null_keys" in said and not (mine / "m.tflite").exists()


@pytest.mark.parametrize(("flags", "why"), [
    ("--images=photos --key=k.npz", "--images is for --format=tflite_int8, this is tflite"),
    ("--bare_seed=1", "--bare_seed is for a verification with --key"), ("--null_keys=30", "--null_keys is for a")])
def test_what_an_export_would_ignore_is_said(flags, why, mine, capsys):
    assert why in _refused(capsys, "export", "--model=mine.keras", "--out=m.tflite", *flags.split())
    assert not (mine / "m.tflite").exists()


@pytest.mark.parametrize("scales", ["0", "-2", "1", "2,1"])
def test_a_factor_that_enlarges_nothing_is_refused(scales, mine, capsys):
    keys.save_key(keys.make_key("a secret", owner="Ada", task="sr", size=16, scale=2), "sr.npz")
    said = _refused(capsys, "embed", "--model=mine.keras", "--task=sr", f"--scales={scales}", "--images=none",
                    "--key=sr.npz", "--out=m.keras")
    assert "scales: expected whole numbers from 2 to 16" in said


def test_answers_among_their_questions_are_no_answers(mine):
    """Left where it was, a question would be read as its own answer, and the network as one that changes nothing."""
    key = keys.load_key("k.npz")
    folder.write_queries("q", [key.trigger])
    with pytest.raises(suspects.SuspectError, match="of which one may be the question"):
        suspects.load_suspect("q")(key.trigger[None])
    next(mine.glob("q/*.png")).unlink()
    with pytest.raises(suspects.SuspectError, match="is the question itself"):
        suspects.load_suspect("q")(key.trigger[None])


@pytest.mark.parametrize("spec", ["ask.py:answer", "mine.keras", "answers"])
def test_a_signature_or_output_of_what_has_none_is_said(spec, mine):
    (mine / "ask.py").write_text("def answer(x):\n    return x\n")
    (mine / "answers").mkdir()
    np.save(mine / "answers" / "a.npy", np.zeros((16, 16)))
    with pytest.raises(ModelError, match="a signature is a SavedModel's"):
        suspects.load_suspect(spec, signature="serve")
    if spec != "mine.keras":
        with pytest.raises(ModelError, match="has one output"):
            suspects.load_suspect(spec, output="image")


def test_a_users_file_may_have_dataclasses(mine):
    """They look for their module where Python keeps those that are loaded."""
    code = ("from __future__ import annotations\nimport dataclasses\n\n\n@dataclasses.dataclass\nclass Settings:\n"
            "    sigma: float = 1.0\n\n\ndef answer(x):\n    return Settings().sigma * x\n")
    (mine / "asking.py").write_text(code)
    image = np.ones((1, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(suspects.load_suspect("asking.py:answer")(image), image)
    assert models.register_objects("asking.py") == ["Settings", "answer"]


def test_the_token_of_one_server_goes_to_no_other(mine, monkeypatch, capsys):
    monkeypatch.setenv("WATERMARK_TOKEN", "secret")
    said = _refused(capsys, "verify", "--suspect=https://mine.example/d", "--suspect=https://thief.example/d",
                    "--key=k.npz", "--retries=0")
    assert "WATERMARK_TOKEN is set and would go to mine.example and to thief.example" in said and "secret" not in said
    said = _refused(capsys, "verify", "--suspect=https://mine.example/d", "--unmarked=https://thief.example/d",
                    "--key=k.npz", "--retries=0")
    assert "thief.example" in said


@pytest.mark.parametrize("address", ["https://ada:pa/ss@localhost:1/d", "https://ada:12/ss@localhost/d",
                                     "https://ada:pa?ss@localhost/d"])
def test_a_password_with_a_slash_is_not_shown(address, mine, capsys):
    (mine / "ask.py").write_text("def answer(x):\n    return x\n")
    _, out, said = watermark(capsys, "verify", f"--suspect={address}", "--suspect=ask.py:answer", "--key=k.npz",
                             "--retries=0")
    assert "ss@" not in out + said and "ada" not in out + said and "%2F for /" in out + said


def test_a_transcript_is_tried_before_anything_is_asked(mine, capsys):
    """Nobody listens there; what is no transcript stays as it is."""
    before = (mine / "k.npz").read_bytes()
    for name, why in (("k.npz", "no transcript"), ("none/t.log/", "cannot be written"), (".", "is no file")):
        (mine / "none").touch()
        said = _refused(capsys, "verify", "--suspect=http://localhost:9/d", "--key=k.npz", f"--transcript={name}",
                        "--retries=0")
        assert why in said, said
    assert (mine / "k.npz").read_bytes() == before


@pytest.mark.parametrize("kind", ["finetune", "overwrite"])
def test_the_rate_of_an_attack_is_checked_before_images_are_read(kind, mine, capsys):
    """Also where no recipe is needed: a fine-tuning would climb."""
    said = _refused(capsys, "attack", f"--kind={kind}", "--learning_rate=-1", "--model=mine.keras", "--out=m.keras")
    assert "learning_rate: expected a finite number above 0" in said


def test_a_factor_that_is_not_the_networks_is_said(mine):
    values = flags.FlagValues()
    common.define_images(values)
    values(["x", "--task=sr", "--scales=3", f"--images={mine}"])
    Image.fromarray(np.zeros((16, 16), np.uint8)).save("a.png")
    with pytest.raises(ValueError, match="--scales=3: the network enlarges 2 times; leave it out"):
        common.told_task(values, Form((None, None), 1, 2, 1))


@pytest.mark.parametrize(("spec", "more", "why"), [
    (None, {}, "expected a Keras model, .* got NoneType"), (3, {}, "got int"), (["mine.keras"], {}, "got list"),
    ("mine.keras", {"nope": 1}, "nope=.*no such argument, or for a URL only"),
    (np.sin, {"timeout": 1.0}, "timeout=")], ids=str)
def test_what_is_no_suspect_is_none(spec, more, why, mine):
    with pytest.raises(TypeError, match=why):
        suspects.load_suspect(spec, **more)
    assert suspects.load_suspect(np.sin) is np.sin


def test_paths_in_the_place_of_keys_and_models():
    with pytest.raises(TypeError, match="key: expected a Key, got str; watermark.load_key"):
        commitments.commit("k.npz")
    for arguments in (("k.npz", denoiser()), (keys.make_key(1, size=16), "mine.keras")):
        with pytest.raises(TypeError, match="expected a .*, got str"):
            embedding.update_key(*arguments)


def test_a_saved_models_own_check_speaks_first(tmp_path):
    """Oracle: what the shipped form says of its range."""
    exporting.save_saved_model(denoiser(), tmp_path / "m")
    suspect = suspects.load_suspect(tmp_path / "m")
    with pytest.raises(suspects.SuspectError, match=r": expected image: float32 \[N, H, W, C\] on \[0, 1\]; divide"):
        blackbox.as_suspect(suspect, keys.make_key(1, size=16).kind, pixels=fitting.BYTES)(np.ones((1, 16, 16, 1)))
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    with pytest.raises(ModelError, match="has no signature 'serving_default'; it has none at all: save it with"):
        suspects.load_suspect(tmp_path / "none")


@pytest.mark.parametrize("channels", [4, 32])
def test_no_key_is_asked_for_that_none_can_make(channels):
    image = keras.Input((None, None, channels))
    network = keras.Model(image, keras.layers.Conv2D(channels, 3, padding="same")(image), name="wide")
    with pytest.raises(ValueError, match=rf"wide takes images of {channels} channels, .*; keys are of 1 or 3"):
        inference.model_input(network, np.zeros((1, 8, 8, 1)), keys.make_key(1, size=8).kind)


def test_a_network_of_two_inputs_is_no_suspect_as_it_is():
    image, noise = keras.Input((None, None, 1), name="image"), keras.Input((None, None, 1), name="noise")
    network = keras.Model([image, noise], keras.layers.Conv2D(1, 3, padding="same")(image + noise), name="two")
    with pytest.raises(ModelError, match=r"two takes .*wrapped\(model, fixed=\{'noise': 0.1\}\)"):
        blackbox.as_suspect(network, keys.make_key(1, size=16).kind)


@pytest.mark.parametrize("task", [tasks.Denoising(), tasks.SuperResolution((2,)), tasks.Examples()], ids=repr)
def test_no_task_is_printed_as_python_writes_it(task):
    assert "(" not in common.task_words(task).replace("(σ = 25)", "").replace("(2 times)", "")
