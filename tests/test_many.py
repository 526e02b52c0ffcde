"""`watermark verify` with many suspects and keys, and what it says of suspects that had to be fitted."""

import dataclasses
import hashlib
import itertools
import json
import shutil
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_runtimes import nchw

from watermark import blackbox, cli, evidence, exporting, judgement, keys, models, suspects, verification
from watermark.cli import many, served


@pytest.fixture(scope="module")
def case(owned, tmp_path_factory):
    """A folder with the marked network, the one before, and the owner's key among others."""
    folder = tmp_path_factory.mktemp("case")
    models.save_model(owned.marked, folder / "marked.keras")
    models.save_model(owned.host, folder / "host.keras")
    (folder / "keys").mkdir()
    keys.save_key(owned.key, folder / "keys" / "mine.npz")
    keys.save_key(keys.make_key("another", size=16, owner="Ada"), folder / "keys" / "other.npz")
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("not a key")
    return folder


def verify(capsys, case, *arguments):
    """(exit code, stdout, stderr)."""
    code = cli.main(["verify", "--null_keys=100", *(argument.format(case) for argument in arguments)])
    return code, *capsys.readouterr()


def test_many_suspects_and_keys_in_one_table(case, capsys):
    """Four pairs are tried, a fifth and sixth cannot be; one is found, and its p is four times what it is alone."""
    flags = ("--suspect={0}/marked.keras", "--suspect={0}/host.keras", "--suspect={0}/none.keras", "--key={0}/keys/")
    code, said, _ = verify(capsys, case, *flags, "--json")
    table = json.loads(said)
    assert code == 0 and table["tried"] == 4 and table["found"] and len(table["rows"]) == 6
    found = [row for row in table["rows"] if row.get("found")]
    assert [(row["suspect"], row["key"]) for row in found] == [(f"{case}/marked.keras", f"{case}/keys/mine.npz")]
    assert found[0]["verdict"]["p_value"] == pytest.approx(1 / 101)
    assert found[0]["p_corrected"] == pytest.approx(4 / 101)
    assert found[0]["z_needed_corrected"] == pytest.approx(evidence.z_needed(100, 1e-9 / 4))
    assert ["no such" in row.get("error", "") for row in table["rows"]] == [False] * 4 + [True] * 2
    code, said, _ = verify(capsys, case, *flags)
    assert code == 0 and said.count("YES") == 1 and "4 pairs were tried" in said
    assert "one try in so many" in said and said.count("no such file or folder") == 2


def test_what_no_pair_shows(case, capsys):
    """Exit code 1 where all were asked and none found, 2 where one could not be asked."""
    assert verify(capsys, case, "--suspect={0}/host.keras", "--key={0}/keys/")[0] == 1
    assert verify(capsys, case, "--suspect={0}/host.keras", "--suspect={0}/no.onnx", "--key={0}/keys/mine.npz")[0] == 2


def test_a_bad_key_among_many_ends_nothing(case, capsys):
    bad = case / "bad.npz"
    bad.write_bytes(b"no key")
    (case / "mixed").mkdir()
    for path in (bad, case / "keys" / "mine.npz"):
        shutil.copy(path, case / "mixed")
    code, said, _ = verify(capsys, case, "--suspect={0}/marked.keras", "--key={0}/mixed", "--json")
    assert code == 0 and json.loads(said)["tried"] == 1 and "not a key file" in said
    assert verify(capsys, case, "--suspect={0}/marked.keras", "--suspect={0}/host.keras", "--key={0}/bad.npz")[0] == 2


@pytest.mark.parametrize("error", [tf.errors.InternalError(None, None, "gone"), TypeError("gone"), MemoryError("gone"),
                                   SystemExit("gone")], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("early", [False, True])
def test_a_suspect_that_fails_in_any_way_ends_nothing(error, early, case, capsys, monkeypatch):
    """Neither as it is opened nor after it has answered K: the table has a row for it, and the others theirs."""
    def answers(images):
        if len(images) > 1 or images.shape[1] > 100:  # in which it is asked next
            raise error
        return images

    def opened(spec, real=served.load_suspect, **options):
        if not spec.endswith("hostile.onnx"):
            return real(spec, **options)
        if early:
            raise error
        return answers

    monkeypatch.setattr(served, "load_suspect", opened)
    code, said, _ = verify(capsys, case, "--suspect={0}/hostile.onnx", "--suspect={0}/marked.keras",
                           "--key={0}/keys/mine.npz")
    assert code == 0 and said.count("YES") == 1 and "1 pairs were tried" in said
    line, = (line for line in said.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {case}/hostile.onnx: ") and "gone" in line


def test_a_row_whose_key_can_claim_nothing_says_why(case, owned, capsys):
    """As the verification of that key alone does; and a file's name is no line of the table's."""
    (case / "forged").mkdir()
    keys.save_key(keys.make_key(7, size=16), case / "forged" / "bare.npz")
    keys.save_key(owned.key, case / "forged" / "mine\nYES.npz")
    why = json.loads(verify(capsys, case, "--suspect={0}/marked.keras", "--key={0}/forged/bare.npz", "--json")[1])
    code, said, _ = verify(capsys, case, "--suspect={0}/marked.keras", "--key={0}/forged")
    assert code == 0 and why["refusal"] and f"{case}/forged/bare.npz: nothing can be claimed" in said
    assert said.count(why["refusal"]) == 1 and len(said.splitlines()) == 5


@pytest.mark.parametrize(("flags", "why"), [
    (("--key={0}/keys/", "--report=page.html"), "--report is for one suspect and one key"),
    (("--key={0}/empty",), "no key file"), (("--key={0}/keys/mine.npz", "--range=255,0"), "expected LOW < HIGH")])
def test_flags_that_do_not_go_together(flags, why, case, capsys):
    code, _, said = verify(capsys, case, "--suspect={0}/marked.keras", *flags)
    assert code == 2 and why in said and said.count("\n") == 1


def test_the_range_that_fits_is_named(case, owned, capsys):
    """A network on [0, 255] is not found as it stands, and the line that follows tells how."""
    inputs = keras.Input((None, None, 1))
    answer = owned.marked(keras.layers.Rescaling(1 / 255)(inputs))
    models.save_model(keras.Model(inputs, keras.layers.Rescaling(255.0)(answer)), case / "bytes.keras")
    flags = ("--suspect={0}/bytes.keras", "--key={0}/keys/mine.npz", "--json")
    code, said, aside = verify(capsys, case, *flags)
    assert code == 1 and "verify with --range=0,255" in aside
    assert any("--range=0,255" in line for line in json.loads(said)["notes"])
    bare = dataclasses.replace(owned.key, owner="", secret="")  # of which `evident` says nothing without --bare_seed
    suspect = blackbox.as_suspect(models.load_model(case / "bytes.keras"), bare.kind)
    known = verification.verify(suspect, bare, null_keys=100)
    assert any("--range=0,255" in line for line in many.range_hint(suspect, bare, known))
    found = verification.verify(owned.marked, bare, null_keys=100)  # a key without an owner is no matter of ranges
    assert found.stands_out and found.refusal and not many.range_hint(suspect, bare, found)
    code, said, aside = verify(capsys, case, *flags, "--range=0,255")
    assert code == 0 and json.loads(said)["distance"] < 1e-5 and "note: pixels are put on [0, 255]" in aside


def test_what_had_to_be_fitted_is_said(case, owned, capsys):
    """A file of one size and one batch: a line on standard error, and among the notes of the result."""
    inputs = keras.Input(batch_shape=(1, 24, 24, 1))
    exporting.save_saved_model(keras.Model(inputs, owned.marked(inputs)), case / "fixed")
    code, said, aside = verify(capsys, case, "--suspect={0}/fixed", "--key={0}/keys/mine.npz", "--json", "--batch=1")
    notes = json.loads(said)["notes"]
    assert code == 0 and "takes 24x24, not 16x16" in notes[0] and f"note: {notes[0]}" in aside


def test_shifts_are_counted_in_the_result(case, owned, capsys):
    inputs = keras.Input((None, None, 1))
    x = keras.layers.ZeroPadding2D(((0, 0), (1, 0)))(owned.marked(inputs))
    models.save_model(keras.Model(inputs, keras.layers.Cropping2D(((0, 0), (0, 1)))(x)), case / "moved.keras")
    flags = ("--suspect={0}/moved.keras", "--key={0}/keys/mine.npz", "--json")
    code, said, aside = verify(capsys, case, *flags)
    result = json.loads(said)
    assert code == 0 and result["shift"] == [0, 1] and result["tries"] == 14
    assert result["p_value"] == pytest.approx(14 / 101)
    assert "in 14 ways of asking and of reading the answer, found with the answer moved by (0, 1" in aside
    code, _, aside = verify(capsys, case, *flags, "--null_keys=0")
    assert code == 1 and "ways of asking" not in aside  # without fresh keys nothing is found, wherever one looks
    code, said, _ = verify(capsys, case, *flags, "--shifts=0")
    assert code == 1 and json.loads(said)["tries"] == 1


def test_a_range_is_no_matter_of_pictures(case, capsys):
    (case / "answers").mkdir()
    np.save(case / "answers" / "a.npy", np.zeros((16, 16, 1)))
    code, _, said = verify(capsys, case, "--suspect={0}/answers", "--key={0}/keys/mine.npz", "--range=0,255")
    assert code == 2 and "is for numbers" in said
    code, _, said = verify(capsys, case, "--suspect=http://127.0.0.1:9/x", "--key={0}/keys/mine.npz", "--range=-1,1")
    assert code == 2 and "is for numbers" in said


def test_a_function_is_asked_from_the_command_line(case, capsys, monkeypatch):
    """Its file is what is identified: SHA-256 by hashlib. Inspected, it says its size; a file that is not there, 2."""
    (case / "ask.py").write_text("import keras\nmarked = keras.saving.load_model('marked.keras')\n"
                                 "def ask(images):\n    return marked.predict(images, verbose=0)\n")
    monkeypatch.chdir(case)
    code, said, _ = verify(capsys, case, "--suspect=ask.py:ask", "--key={0}/keys/mine.npz", "--json")
    result = json.loads(said)
    assert code == 0 and result["distance"] < 1e-5 and result["suspect_form"] == "Python function"
    assert result["suspect_sha256"] == hashlib.sha256((case / "ask.py").read_bytes()).hexdigest()
    for told, why in ((["--model=no.keras"], "no such"), (["--suspect=no"], "no such file or folder"),
                      (["--suspect=http://127.0.0.1:9/x", "--retries=0"], "cannot be reached")):
        started = time.monotonic()
        assert cli.main(["inspect", *told]) == 2 and time.monotonic() - started < 20  # asked once
        assert why in capsys.readouterr().err


def test_what_was_asked_is_what_the_result_names(case, capsys, monkeypatch):
    """A suspect that changes while it is asked is no result; files beside it that answers hang on are named, too."""
    (case / "ask.py").write_text("import pathlib\ndef ask(images):\n"
                                 "    pathlib.Path('ask.py').write_text('another')\n    return images\n")
    (case / "mine.py").write_text("A = 1\n")
    monkeypatch.chdir(case)
    code, said, error = verify(capsys, case, "--suspect=ask.py:ask", "--key={0}/keys/mine.npz")
    assert code == 2 and not said and "changed while it was read" in error
    flags = ("--suspect={0}/marked.keras", "--key={0}/keys/mine.npz", "--unmarked={0}/host.keras",
             "--custom_objects={0}/mine.py", "--json", "--report={0}/page.html")
    read = json.loads(verify(capsys, case, *flags)[1])["also_read"]
    assert read == {flag: hashlib.sha256((case / name).read_bytes()).hexdigest()
                    for flag, name in (("custom_objects", "mine.py"), ("unmarked", "host.keras"))}
    assert all(digest in (case / "page.html").read_text() for digest in read.values())


def test_what_is_hashed_is_what_is_read_whoever_writes_there(case, owned, capsys, monkeypatch):
    """Another network is put into the place while it is read, and the first one back; its copy is what is asked."""
    path, first = case / "marked.keras", (case / "marked.keras").read_bytes()

    def swapped(spec, **how):
        path.write_bytes((case / "host.keras").read_bytes())
        try:
            return suspects.load_suspect(spec, **how)
        finally:
            path.write_bytes(first)

    monkeypatch.setattr(served, "load_suspect", swapped)
    code, said, _ = verify(capsys, case, "--suspect={0}/marked.keras", "--key={0}/keys/mine.npz", "--json")
    result = json.loads(said)
    assert code == 0 and result["distance"] < 1e-5 and result["suspect_sha256"] == hashlib.sha256(first).hexdigest()
    assert result["suspect"] == str(path)
    monkeypatch.undo()
    (case / "up").mkdir()
    for nothing in ("up", "up/.."):  # as such they lie there, and what they lack is said of them
        code, _, error = verify(capsys, case, f"--suspect={{0}}/{nothing}", "--key={0}/keys/mine.npz")
        assert code == 2 and f"{case}/{nothing} is no SavedModel and holds no response image" in error
    path.write_bytes(first[:-100])
    code, _, error = verify(capsys, case, "--suspect={0}/marked.keras", "--key={0}/keys/mine.npz")
    assert code == 2 and f"{path} " in error and "/watermark-" not in error
    path.write_bytes(first)


def test_inspect_heeds_what_a_file_says(case, owned, capsys):
    """One size and one batch, channels first: nothing else is asked, and the layout is the file's."""
    nchw(case / "torch.onnx", owned, [2, 1, 24, 28])
    assert cli.main(["inspect", f"--suspect={case}/torch.onnx"]) == 0
    said = capsys.readouterr().out
    assert "24x28 only" in said and "NCHW" in said and "channels last" not in said
    assert "keygen --size=24x28" in said


def test_inspect_asks_bytes_as_verify_does(case, owned, capsys):
    """A file that takes bytes has [0, 255] by itself, whatever holds it; the flag that says so changes nothing."""
    nchw(case / "bytes.onnx", owned, [1, 1, 64, 64], "uint8")
    image = keras.Input((64, 64, 1), dtype="uint8")
    models.save_model(keras.Model(image, owned.marked(keras.layers.Rescaling(1 / 255)(image))), case / "bytes.keras")
    told = {}
    for name, flag in itertools.product(("bytes.onnx", "bytes.keras"), ((), ("--range=0,255",))):
        assert cli.main(["inspect", f"--suspect={case}/{name}", *flag]) == 0
        told[name, flag] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("quality")]
        assert told[name, flag] == told["bytes.onnx", ()] and "dB" in told[name, flag][0]


def test_an_answer_on_another_range_is_not_called_damaged(case, owned):
    judged = judgement.judge(lambda images: 255 * owned.marked.predict(images, verbose=0), owned.key, null_keys=100)
    assert judged.found and "another range of pixels" in judgement.notes(judged)[0]


def test_a_table_says_where_the_seed_was_named(case, owned, capsys):
    """Of rows that are found, as one verification does: named by a flag, or with questions."""
    flags = ("--suspect={0}/marked.keras", "--suspect={0}/host.keras", "--key={0}/keys/mine.npz")
    code, said, _ = verify(capsys, case, *flags, "--fresh_seed=abc")
    line, = (line for line in said.splitlines() if many.NAMED in line)
    assert code == 0 and line.startswith(f"{case}/marked.keras, {case}/keys/mine.npz: ")
    assert many.NAMED not in verify(capsys, case, *flags)[1]
    assert verify(capsys, case, "--write_queries={0}/questions", "--key={0}/keys/mine.npz")[0] == 0
    (case / "seeded").mkdir()
    for path in (case / "questions").glob("*.npy"):
        np.save(case / "seeded" / path.name, owned.marked(np.load(path)[None])[0])
    shutil.copy(case / "questions" / "fresh.json", case / "seeded")
    _, said, _ = verify(capsys, case, "--suspect={0}/seeded", *flags[1:], "--json")
    rows = json.loads(said)["rows"]
    assert [(row["found"], many.NAMED in row["notes"]) for row in rows] == [(True, True), (False, False)]
    nonce = json.loads((case / "seeded" / "fresh.json").read_text())
    assert rows[0]["verdict"]["fresh_seed"] == f"{nonce['nonce']}-{nonce['null_keys']}"
