"""The owner's path as a user types it, on small networks; and every verb with files that are missing or hostile."""

import json
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from absl import flags
from PIL import Image

from watermark import cli, commitments, keys, models
from watermark.cli import embed, helping, keygen, many
from watermark.several import define_several

QUICK = ("--steps=300", "--learning_rate=1e-2", "--optimizer=adam", "--strength=1", "--decay=1", "--lookahead=0",
         "--batch_size=4", "--precision=float32", "--nopreflight")


def watermark(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(autouse=True)
def known_secrets(monkeypatch):
    """Every key the same in every run, and every network: how well small ones learn depends on both."""
    monkeypatch.setattr(keygen.secrets, "token_hex", lambda count: "5e" * count)
    keras.utils.set_random_seed(1)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """An owner's folder: a small model mine.keras and photographs."""
    folder = tmp_path_factory.mktemp("mine")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)  # behind an activation: cannot be folded
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(x))
    x = keras.layers.Conv2D(1, 3, padding="same")(keras.layers.ReLU()(x))
    models.save_model(keras.Model(inputs, keras.layers.Subtract()([inputs, x])), folder / "mine.keras")
    _photos(folder / "photos", 3)
    return folder


def _photos(folder, count, channels=()):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        wave = np.sin(np.add.outer(rng.random(1) * 6 + np.arange(60) / 5, np.arange(50) / 7))
        image = np.uint8(127 + 100 * wave)
        Image.fromarray(np.repeat(image[..., None], 3, 2) if channels else image).save(folder / f"{i}.png")


def test_the_owners_path(mine, capsys):
    """keygen, embed, verify, verify --json, export, verify the export, attack, report, forge."""
    key, out = mine / "key.npz", mine / "marked.keras"
    assert watermark(capsys, "keygen", "--size=16", "--owner=Ada", f"--out={key}", f"--sign={mine}/ada.pem")[0] == 0
    assert key.stat().st_mode & 0o777 == 0o600
    before = (mine / "key.commitment.json").read_text()
    code, said, _ = watermark(capsys, "embed", f"--model={mine}/mine.keras", f"--images={mine}/photos/",
                              "--task=denoise", "--sigma=25", f"--key={key}", f"--out={out}", *QUICK)
    assert code == 0 and "PSNR" in said and "100 strangers' keys: the least d is" in said
    assert not (mine / "marked.run").exists()
    assert (mine / "key.commitment.json").read_text() == before and (mine / "key.marked.commitment.json").exists()
    first, second = (json.loads((mine / f"key.{name}.json").read_text())
                     for name in ("commitment", "marked.commitment"))
    assert first["public_key"] == second["public_key"]  # --sign is remembered
    code, words, _ = watermark(capsys, "verify", f"--suspect={out}", f"--key={key}")
    assert code == 0 and words.startswith("FOUND: ") and "6.1 is needed with 1000 fresh keys" in words
    code, words, _ = watermark(capsys, "verify", f"--suspect={mine}/mine.keras", f"--key={key}")
    assert code == 1 and words.startswith("NOT FOUND: ") and "declared" not in words

    assert watermark(capsys, "export", f"--model={out}", f"--out={mine}/saved", f"--key={key}")[0] == 0
    code, said, _ = watermark(capsys, "verify", f"--suspect={mine}/saved", f"--key={key}", "--json",
                              f"--commitment={mine}/key.commitment.json", f"--unmarked={mine}/mine.keras")
    result = json.loads(said)
    assert code == 0 and result["stands"] and result["p_value"] == 1 / 1001 and result["unmarked"][0] == 0.0
    assert all(finding["holds"] for finding in result["claim"]) and result["owner"] == "Ada"
    assert result["found"] and result["outcome"] == "found" and result["within_threshold"]
    assert result["z_score"] > result["z_needed"] == pytest.approx(6.06, abs=0.01) and len(result["fresh_seed"]) == 32
    assert result["suspect_form"] == "SavedModel" and len(result["suspect_sha256"]) == 64 and result["suspect_bytes"]
    assert datetime.fromisoformat(result["date"]).tzinfo and "no time stamp" in " ".join(result["notes"]).lower()
    repeated = json.loads(watermark(capsys, *shlex.split(result["command"])[1:], "--json")[1])
    changes = {name for name in result if result[name] != repeated[name]}
    assert changes <= {"date", "notes"} and set(repeated["notes"]) - set(result["notes"]) == {many.NAMED}
    assert keys.load_key(key).secret not in said

    pruned = mine / "pruned.keras"
    assert watermark(capsys, "attack", "--kind=prune", "--rate=0.1", f"--model={out}", f"--out={pruned}")[0] == 0
    code, *_ = watermark(capsys, "verify", f"--suspect={pruned}", f"--key={key}", f"--report={mine}/report.html")
    page = (mine / "report.html").read_text()
    assert code == 0 and "Found.</strong>" in page and keys.load_key(key).secret not in page
    assert not re.search(r'''(src|href)="(?!data:|#)''', page)  # self-contained

    forged = mine / "forged.npz"
    assert watermark(capsys, "attack", "--kind=forge", "--size=16", f"--model={out}", f"--out={forged}")[0] == 0
    for told in ([], ["--rule=threshold"], ["--rule=threshold", f"--commitment={mine}/forged.commitment.json"]):
        code, said, _ = watermark(capsys, "verify", f"--suspect={out}", f"--key={forged}", *told)
        assert code == 1 and said.startswith("NOT FOUND: ") and "d <= η: yes" in said
        assert "S may have been declared afterwards" in said

    # A key marks one model; and a key file is never overwritten.
    code, _, said = watermark(capsys, "embed", f"--model={mine}/mine.keras", f"--images={mine}/photos/",
                              f"--key={key}", f"--out={mine}/again.keras", *QUICK)
    assert code == 2 and "marks a model already" in said
    assert watermark(capsys, "keygen", f"--out={key}")[0] == 2


def test_thieves_that_train(mine, capsys):
    for kind, more in (("finetune", []), ("overwrite", ["--size=16"])):
        out = mine / f"{kind}.keras"
        code, _, said = watermark(capsys, "attack", f"--kind={kind}", f"--model={mine}/mine.keras", f"--out={out}",
                                  f"--images={mine}/photos/", "--steps=2", "--batch_size=2", "--nopreflight", *more)
        assert code == 0, said
        assert out.exists() and not out.with_suffix(".run").exists()


@pytest.mark.parametrize("kind", ["colour", "fixed", "enlarging", "two outputs", "pairs"])
def test_models_of_every_shape_are_marked(kind, tmp_path, capsys):
    """A few steps, in --strength high enough to be found."""
    channels = 3 if kind in ("colour", "enlarging") else 1
    side = 16 if kind == "fixed" else None
    inputs = keras.Input((side, side, channels))
    x = keras.layers.Conv2D(24, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    if kind == "enlarging":
        x = keras.layers.Conv2DTranspose(channels, 4, strides=2, padding="same", name="image")(x)
    else:
        x = keras.layers.Conv2D(channels, 3, padding="same", name="image")(x)
    mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    outputs = {"image": x, "mask": mask} if kind == "two outputs" else x
    models.save_model(keras.Model(inputs, outputs), tmp_path / "m.keras")
    _photos(tmp_path / "photos", 2, channels=(3,) if channels == 3 else ())
    flags = [f"--images={tmp_path}/photos"] if kind != "pairs" else [
        "--task=pairs", f"--pairs={tmp_path}/photos/,{tmp_path}/photos/"]
    flags += {"two outputs": ["--output=image"], "enlarging": ["--task=sr"]}.get(kind, [])
    make = ["--task=sr", "--size=16"] if kind == "enlarging" else ["--size=16"]
    assert watermark(capsys, "keygen", *make, f"--channels={channels}", f"--out={tmp_path}/k.npz")[0] == 0
    code, said, why = watermark(capsys, "embed", f"--model={tmp_path}/m.keras", f"--key={tmp_path}/k.npz",
                                f"--out={tmp_path}/o.keras", *flags, *QUICK)
    assert code == 0, why
    assert "nan" not in said
    output = ["--output=image"] if kind == "two outputs" else []
    assert watermark(capsys, "verify", f"--suspect={tmp_path}/o.keras", f"--key={tmp_path}/k.npz", *output)[0] == 0
    if kind == "two outputs":
        assert len(models.load_model(tmp_path / "o.keras").outputs) == 2
        code, _, said = watermark(capsys, "verify", f"--suspect={tmp_path}/o.keras", f"--key={tmp_path}/k.npz")
        assert code == 2 and "image, mask" in said


def test_inspect_shows_no_secret(mine, capsys, tmp_path):
    watermark(capsys, "keygen", f"--out={tmp_path}/k.npz", "--owner=Ada", f"--sign={tmp_path}/a.pem")
    key = keys.load_key(tmp_path / "k.npz")
    for name, expected in (("k.npz", "derived"), ("k.commitment.json", "holds"), ("a.pem", "public key")):
        code, said, _ = watermark(capsys, "inspect", f"--file={tmp_path}/{name}")
        assert code == 0 and expected in said and key.secret not in said and key.secret[:16] not in said
    code, said, _ = watermark(capsys, "inspect", f"--file={mine}/mine.keras")
    assert code == 0 and "2, 1 of them foldable" in said


def test_inspect_shows_no_line_of_a_files_own(capsys, tmp_path):
    """A commitment that does not hold, and a key, whose owner and further fields would say that all is well."""
    owner = "Ada\nsignature   holds\r\u2028derived  yes"
    keys.save_key(key := keys.make_key("x", size=16, owner="Ada"), tmp_path / "k.npz")
    (tmp_path / "c.json").write_text(json.dumps(commitments.commit(key) | {"owner": owner}))
    code, said, error = watermark(capsys, "inspect", f"--file={tmp_path}/c.json")
    assert code == 2 and not said and error.count("\n") == 1 and "expected an owner's name, of 200" in error
    forged = commitments.commit(key) | {"owner": "Eve", "public_key": "00\nmark  ok", "time stamp": "holds: 2001-01-01",
                                        "z\nowner": ""}
    (tmp_path / "c.json").write_text(json.dumps(forged))
    code, said, _ = watermark(capsys, "inspect", f"--file={tmp_path}/c.json")
    names = [line.split("  ")[0] for line in said.splitlines()]
    assert code == 1 and names == ["kind", "format", "owner", "key", "mark", "public_key", "signature"]
    assert said.splitlines()[-1] == "signature   DOES NOT HOLD" and "2001" not in said
    with np.load(tmp_path / "k.npz") as file:
        arrays = dict(file.items())
    name = next(name for name, array in arrays.items() if not array.shape and str(array) == "Ada")
    np.savez(tmp_path / "forged.npz", **arrays | {name: np.array(owner)})
    code, said, error = watermark(capsys, "inspect", f"--file={tmp_path}/forged.npz")
    assert code == 2 and not said and error.count("\n") == 1 and "control characters" in error


def test_hostile_and_missing_files(mine, capsys, tmp_path):
    """One line, exit code 2, nothing written."""
    watermark(capsys, "keygen", "--size=16", f"--out={tmp_path}/k.npz")
    evil = tmp_path / "evil.npz"
    np.savez(evil, trigger=np.array([{"a": 1}], object), allow_pickle=True)
    (tmp_path / "bad.keras").write_bytes(b"PK no")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("no image")
    model, key, photos = f"--model={mine}/mine.keras", f"--key={tmp_path}/k.npz", f"--images={mine}/photos"
    out = f"--out={tmp_path}/new.keras"
    before = sorted(p.name for p in tmp_path.rglob("*"))
    for arguments, why in [
        (["verify", key], "--suspect"), (["verify", f"--suspect={mine}/mine.keras"], "--key"),
        (["verify", f"--suspect={tmp_path}/none.keras", key], "no such"),
        (["verify", f"--suspect={tmp_path}/bad.keras", key], "damaged"),
        (["verify", f"--suspect={mine}/mine.keras", f"--key={evil}"], "not a key file"),
        (["verify", f"--suspect={mine}/mine.keras", f"--key={tmp_path}/none.npz"], "no such key file"),
        (["verify", f"--suspect={mine}/mine.keras", key, f"--commitment={mine}/mine.keras"], "not a commit|more than"),
        (["verify", f"--suspect={mine}/mine.keras", key, "--report=page.txt"], "html"),
        (["verify", f"--suspect={mine}/mine.keras", key, f"--timestamp={evil}"], "--commitment"),
        (["verify", "--suspect=http://127.0.0.1:9/m:predict", key, "--retries=0"], "cannot be reached"),
        (["verify", "--nosuchflag=1"], "nosuchflag"), (["verify", "extra"], "unexpected argument"),
        (["embed", model, key, out], "--images"), (["embed", model, key, photos, "--out=new.h5"], "keras"),
        (["embed", model, key, f"--images={tmp_path}/photos", out], "cannot be read as an image"),
        (["embed", model, key, f"--images={tmp_path}/nowhere", out], "no such folder"),
        (["embed", model, key, out, "--task=pairs", f"--pairs={mine}/photos"], "--pairs=INPUTS"),
        (["embed", f"--model={tmp_path}/bad.keras", key, photos, out], "damaged"),
        (["embed", model, f"--key={evil}", photos, out], "not a key file"),
        (["attack", "--kind=prune", f"--model={tmp_path}/bad.keras", out], "damaged"),
        (["attack", "--kind=prune", "--rate=1.5", model, out], "rate"), (["attack", model, out], "--kind"),
        (["export", f"--model={tmp_path}/bad.keras", f"--out={tmp_path}/x.tflite"], "damaged"),
        (["export", model, f"--out={tmp_path}/x.pb"], "ends in"),
        (["inspect", f"--file={tmp_path}/none"], "no such"), (["inspect", f"--file={evil}"], "not a key file"),
        (["inspect", f"--file={tmp_path}/text.png"], "expected a .keras"),
        (["keygen", f"--out={tmp_path}/k.txt"], "npz"),
        (["keygen", "--size=1", f"--out={tmp_path}/n.npz"], "3 <= size"),
        (["nonsense"], "unknown verb"),
    ]:
        code, _, said = watermark(capsys, *arguments)
        assert code == 2, arguments
        assert [line[:7] for line in said.splitlines() if line[:5] != "note:"] == ["error: "], (arguments, said)
        assert re.search(why, said), (arguments, said)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_a_key_that_does_not_fit_is_said(mine, capsys, tmp_path):
    watermark(capsys, "keygen", "--size=16", "--channels=3", f"--out={tmp_path}/k.npz")
    code, _, said = watermark(capsys, "embed", f"--model={mine}/mine.keras", f"--key={tmp_path}/k.npz",
                              f"--images={mine}/photos", f"--out={tmp_path}/o.keras", *QUICK)
    assert code == 2 and "--channels=1" in said
    code, _, said = watermark(capsys, "verify", f"--suspect={mine}/mine.keras", f"--key={tmp_path}/k.npz")
    assert code == 2 and "takes images" in said


def test_a_killed_embedding_goes_on(mine, capsys, tmp_path, monkeypatch):
    """The same command after a failure half way takes up the state that is kept, and cleans up behind it."""
    from watermark import states, training

    watermark(capsys, "keygen", "--size=16", f"--out={tmp_path}/k.npz")
    command = ("embed", f"--model={mine}/mine.keras", f"--key={tmp_path}/k.npz", f"--images={mine}/photos",
               f"--out={tmp_path}/o.keras", *QUICK)
    monkeypatch.setattr(states.State, "EVERY", 0.0)
    save = states.State.save

    def dies(self, history, now):
        save(self, history, now)
        if history[-1]["step"] == 100:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(states.State, "save", dies)
    code, _, said = watermark(capsys, *command)
    assert code == 2 and "No space left" in said and not (tmp_path / "o.keras").exists()
    monkeypatch.setattr(states.State, "save", save)
    first = []
    numbered = training.train_step
    monkeypatch.setattr(training, "train_step", lambda *a, **k: _counted(numbered(*a, **k), first))
    assert watermark(capsys, *command)[0] == 0
    assert len(first) == 200 and not (tmp_path / "o.run").exists()


def _counted(step, calls):
    def counted(batch):
        calls.append(1)
        return step(batch)

    return counted


def test_as_a_program(tmp_path):
    """What a terminal shows: help, and one line on standard error, without TensorFlow's."""
    (tmp_path / "absl.py").write_text("raise SystemExit('the code of whoever sent this folder')\n")
    done = subprocess.run([sys.executable, "-m", "watermark", "--help"], capture_output=True, text=True, check=True,
                          cwd=tmp_path)
    assert all(verb in done.stdout for verb in cli.VERBS)
    done = subprocess.run([sys.executable, "-m", "watermark", "verify", "--suspect=none.keras", "--key=none.npz"],
                          capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: none.npz")


@pytest.mark.parametrize(("given", "value"), [
    ([], ["x"]), (["--f=a"], ["a"]), (["--f=a,b"], ["a", "b"]), (["--f=a", "--f=b,c"], ["a", "b", "c"]),
    (["--f="], [])])
def test_a_list_given_in_parts_is_whole(given, value):
    values = flags.FlagValues()
    define_several("f", ["x"], "for a test", values)
    values(["program", *given])
    assert values.f == value


def test_of_no_list_the_last_part_alone_counts():
    """absl's own list flags forget what an earlier one of the same name said."""
    for path in (Path(cli.__file__).parents[1]).rglob("*.py"):
        assert "DEFINE_list" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb, capsys):
    """The kept text is what the flags are now, and begins with those that matter."""
    code, said, _ = watermark(capsys, verb, "--help")
    assert code == 0 and said.startswith(f"watermark {verb}") and set(helping.FIRST) == set(cli.VERBS)
    assert said == helping.text(verb), 'python -c "from watermark.cli import helping; helping.write()"'
    told = re.findall(r"^  --(?:\[no\])?(\w+)", said, re.MULTILINE)
    assert told[:len(helping.FIRST[verb])] == list(helping.FIRST[verb]) and told.count("help") == 0


def test_help_imports_nothing_that_takes_seconds():
    program = f"""
import sys
from watermark import __version__, cli
for arguments in [[verb, "--help"] for verb in {list(cli.VERBS)}] + [["--help"], ["--version"]]:
    assert cli.main(arguments) == 0
heavy = {{"tensorflow", "keras", "matplotlib", "scipy", "h5py", "numpy", "PIL"}} & set(sys.modules)
assert not heavy, heavy
print(__version__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2] == f"watermark {done.stdout.splitlines()[-1]}"


def test_only_a_training_of_its_own_is_forgotten(tmp_path):
    run, values = tmp_path / "out.run", SimpleNamespace(out=tmp_path / "out.keras")
    for name in ("own/state.npz", "another/state.npz"):
        (run / name).parent.mkdir(parents=True)
        (run / name).touch()
    embed.clean(values, run / "own")
    assert [path.name for path in run.iterdir()] == ["another"]
    embed.clean(values, run / "another")
    assert not run.exists()


def test_a_visualizer_of_another_key_is_refused_before_anything_is_asked(tmp_path, capsys):
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3)]).save(tmp_path / "R.keras")
    keys.save_key(keys.make_key("a secret", owner="Ada", size=16), tmp_path / "key.npz")
    code = cli.main(["verify", "--suspect=http://127.0.0.1:9/x", f"--key={tmp_path}/key.npz",
                     f"--visualizer={tmp_path}/R.keras", "--retries=0", f"--report={tmp_path}/page.html"])
    assert code == 2 and "it was trained for another key" in capsys.readouterr().err


def test_inspect_takes_the_file_as_its_argument(capsys, tmp_path):
    """As --file says it, with a flag behind it too; two files, or a file for another verb, are refused."""
    watermark(capsys, "keygen", "--size=16", f"--out={tmp_path}/k.npz")
    told = watermark(capsys, "inspect", f"--file={tmp_path}/k.npz")
    assert told[0] == 0 and "unnamed" in told[1] and watermark(capsys, "inspect", tmp_path / "k.npz") == told
    assert watermark(capsys, "inspect", tmp_path / "k.npz", "--noallow_lambda") == told
    for arguments in (("inspect", "a", "b"), ("inspect", "a", "--file=b"), ("keygen", "a")):
        code, _, said = watermark(capsys, *arguments)
        assert code == 2 and re.search("unexpected argument 'a'", said) and said.count("\n") == 1


def test_a_scale_without_super_resolution_is_refused(capsys, tmp_path):
    code, _, said = watermark(capsys, "keygen", "--scale=3", f"--out={tmp_path}/k.npz")
    assert code == 2 and "--scale=3 is for --task=sr" in said and not list(tmp_path.iterdir())
