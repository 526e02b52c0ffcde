"""What becomes of damaged and hostile inputs: key files, commitments, models, images, folders and HTTP answers.

Every input is made from an honest one by a rule and a number: bytes are turned, cut, repeated or inserted, values are
put in place of others. Each must end in a `WatermarkError` of one printable line, or be read as what it then is, within
`SECONDS` and `MEMORY`, and must not take the process along. Prints the counts and every violation; exit code 1 if there
is one. 1,200 inputs take minutes.

    python benchmarks/hostile_inputs.py [--count=1200] [--seed=0] [--families=keys,images]
"""

import base64
import collections
import io
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
from absl import flags, logging
from PIL import Image

from watermark.lab import scripts
from watermark import blackbox, commitments, data, exporting, keys, kinds, models, suspects
from watermark.errors import WatermarkError
from watermark.several import define_several
from watermark.suspects.folder import query_name
from watermark.suspects.remote import connect

FLAGS = flags.FLAGS
SECONDS = 20.0  # of the processor, for an input; `outcomes` waits three times as long for one that sleeps
MEMORY = 1 << 20  # kB that one input may add to the process's largest memory
IMAGES = np.linspace(0, 1, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8, 1)
KIND = kinds.Kind(size=8)
VALUES = [None, True, -1, 0, 1 << 31, 10**30, 1e308, float("nan"), float("inf"), "", "\x1b[2J\u202e", "a" * 10_000, [],
          {}, [[]], ["b64"], {"b64": 7}, {"b64": "////"}, 40_000_000, "float16", "../../etc/passwd"]
ARRAYS = [np.array(1j), np.array(["2020-01-01"], "M8[D]"), np.array([object()], object), np.zeros(3, "i1,f8"),
          np.array("text"), np.float32(1), np.zeros((0, 8, 1)), np.zeros((8, 8, 1, 1)), np.full((8, 8, 1), np.nan),
          np.zeros((8, 8, 9)), np.zeros((8, 8, 1), bool), np.zeros((4000, 4000, 1), np.int8), np.full((8, 8), 1e300)]


# --- how an input is made ---------------------------------------------------------------------------------------------


def damaged(content, rng):
    """Bytes with a few turned, or a piece cut out, repeated, blanked or put in."""
    content = bytearray(content)
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    b = min(b, a + rng.choice([1, 8, 64, 1 << 20]))
    rule = rng.randrange(6)
    if rule == 0:
        for _ in range(rng.choice([1, 4, 32])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif rule == 1:
        del content[a:]
    elif rule == 2:
        del content[a:b]
    elif rule == 3:
        content[b:b] = content[a:b] * rng.choice([1, 100])
    elif rule == 4:
        content[a:b] = bytes(b - a)
    else:
        content[a:a] = rng.choice([b"\x00", b"\xff" * 8, b"[" * 50_000, b" " * (1 << 20), b"\x1b[2J"])
    return bytes(content)


def replaced(value, rng):
    """JSON with one of its values replaced by one of `VALUES`, or nested without end."""
    places = []

    def walk(holder):
        for step in (holder if isinstance(holder, dict) else range(len(holder))):
            places.append((holder, step))
            if isinstance(holder[step], dict | list):
                walk(holder[step])

    value = json.loads(json.dumps(value))
    walk(value)
    holder, step = rng.choice(places)
    if rng.random() < 0.1 and isinstance(holder, dict):
        del holder[step]
    else:
        holder[step] = rng.choice(VALUES)
    text = json.dumps(value)
    return text if rng.random() < 0.9 else "[" * 100_000 + text


def _zipped(source, path, rng, change):
    """A zip archive with one member changed, packed again with right checksums."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    members[name] = change(name, members[name])
    with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for each, content in members.items():
            archive.writestr(each, content)


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _picture(rng):
    file, kind = io.BytesIO(), rng.choice(["PNG", "TIFF", "BMP", "JPEG", "WEBP", "GIF", "PPM", "EPS"])
    side = 8 if kind == "EPS" else rng.choice([8, 8, 8, 64, 3000])
    Image.new(rng.choice(["L", "RGB"]), (side, side), 77).save(file, kind)
    return file.getvalue()


# --- families: (folder of honest inputs, rng) -> the opening of one hostile input -------------------------------------


def key_files(honest, rng):
    """Key files."""
    path, source = honest / "hostile.npz", honest / "key.npz"
    if rng.random() < 0.5:
        path.write_bytes(damaged(source.read_bytes(), rng))
    else:
        _zipped(source, path, rng, lambda _, content: _npy(rng.choice(ARRAYS)) if rng.random() < 0.5 else damaged(
            content, rng))
    return lambda: keys.load_key(path)


def claims(honest, rng):
    """Commitments, private keys and time stamps."""
    path, source = honest / "hostile.json", honest / rng.choice(["key.json", "ada.pem", "key.tsq"])
    path.write_bytes(replaced(json.loads(source.read_text()), rng).encode("utf-8", "surrogatepass")
                     if source.suffix == ".json" and rng.random() < 0.7 else damaged(source.read_bytes(), rng))
    if source.suffix == ".json":
        return lambda: commitments.signature_holds(commitments.load_commitment(path))
    if source.suffix == ".pem":
        return lambda: commitments.load_signing_key(path)
    commitment = commitments.load_commitment(honest / "key.json")
    return lambda: commitments.stamped(commitment, path, honest / "ada.pem")


def model_files(honest, rng):
    """Model files of every kind."""
    source = honest / rng.choice(["m.keras", "m.keras", "m.h5", "m.onnx", "m.tflite", "saved"])
    path = honest / f"hostile{source.suffix}"
    if source.suffix == ".keras" and rng.random() < 0.7:
        _zipped(source, path, rng, lambda name, content: replaced(json.loads(content), rng).encode(
            "utf-8", "surrogatepass") if name.endswith(".json") else damaged(content, rng))
    elif source.is_dir():
        path = honest / "hostile"
        (path / "variables").mkdir(parents=True, exist_ok=True)
        files = sorted(file.relative_to(source) for file in source.rglob("*") if file.is_file())
        chosen = rng.choice(files)
        for file in files:
            content = (source / file).read_bytes()
            (path / file).write_bytes(damaged(content, rng) if file == chosen and content else content)
    else:
        path.write_bytes(damaged(source.read_bytes(), rng))
    return lambda: blackbox.as_suspect(suspects.load_suspect(path), KIND)(IMAGES)  # as verify asks


def pictures(honest, rng):
    """Images of the owner's."""
    folder = honest / "photos"
    folder.mkdir(exist_ok=True)
    path = folder / f"a{rng.choice(['.png', '.tif', '.jpg', '.bmp', '.webp'])}"
    for file in folder.iterdir():
        file.unlink()
    if rng.random() < 0.05:
        os.mkfifo(path)
    else:
        path.write_bytes(damaged(_picture(rng), rng))
    return lambda: data.folder_images(folder)


def folders(honest, rng):
    """Folders of answers."""
    folder = honest / "answers"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    suffix = rng.choice([".npy", ".npy", ".png", ".tif", ".bmp"])
    for image in IMAGES:
        content = _npy(image if rng.random() < 0.5 else rng.choice(ARRAYS)) if suffix == ".npy" else _picture(rng)
        (folder / f"{query_name(image)}{suffix}").write_bytes(damaged(content, rng) if rng.random() < 0.7 else content)
    return lambda: suspects.load_suspect(folder)(IMAGES)


class _Said:
    """A line on which every server says the same; tests/test_hostile_servers.py has real ones."""

    def __init__(self, content):
        self.content = content

    def send(self, request, limit):
        """As `Line.send`."""
        return 200, self.content[:limit]


def answers(_, rng):
    """HTTP answers, and metadata."""
    text = base64.b64encode(_picture(rng)).decode()
    floats = {"name": "a", "datatype": "FP32", "shape": [2, 8, 8, 1], "data": IMAGES.ravel().tolist()}
    honest = {"m:predict": {"predictions": rng.choice([IMAGES.tolist(), [{"b64": text}] * 2, [{"a": [[[1.0]]]}] * 2])},
              "v2/models/m/infer": rng.choice([
                  {"outputs": [floats]},
                  {"outputs": [{"name": "a", "datatype": "BYTES", "shape": [2], "data": [text] * 2}]},
                  {"inputs": [{"name": "a", "datatype": "UINT8", "shape": [-1, 1, -1, -1]}]}]),
              "picture": {"image": {"data": [text]}}}
    route = rng.choice(sorted(honest))
    content = damaged(_picture(rng), rng) if route == "picture" and rng.random() < 0.5 else replaced(
        honest[route], rng).encode("utf-8", "surrogatepass")
    in_json = route == "picture" and content[:1] == b"{"
    remote = connect(f"http://localhost/{route}", answer="json:image.data.0" if in_json else None, line=_Said(content))
    return lambda: remote(IMAGES)


FAMILIES = {"keys": key_files, "claims": claims, "models": model_files, "images": pictures, "folders": folders,
            "answers": answers}


# --- what becomes of it -----------------------------------------------------------------------------------------------


def prepare(folder):
    """Honest inputs, from which hostile ones are made."""
    import keras

    key = keys.make_key("a secret", size=8, owner="Ada")
    keys.save_key(key, folder / "key.npz")
    commitment = commitments.sign(commitments.commit(key), commitments.make_signing_key(folder / "ada.pem"))
    commitments.save_commitment(commitment, folder / "key.json")
    (folder / "key.tsq").write_bytes(commitments.timestamp_request(commitment))
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(4, 3, padding="same"),
                              keras.layers.ReLU(), keras.layers.Conv2D(1, 3, padding="same")])
    models.save_model(model, folder / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.saving.save_model(model, folder / "m.h5")
    for name, form in (("m.onnx", "onnx"), ("m.tflite", "tflite"), ("saved", "saved_model")):
        exporting.export(model, folder / name, form)


def outcome(family, number, folder):
    """("refused" or "read", None) of the hostile input of that number, or ("VIOLATION", why)."""
    rng = random.Random(f"{family} {number}")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    end, why = "read", None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FAMILIES[family](folder, rng)()
    except WatermarkError as error:
        end, why = ("refused", None) if str(error).isprintable() else ("VIOLATION", f"not one line: {str(error)!r}")
    except Exception as error:
        end, why = "VIOLATION", f"{type(error).__name__}: {str(error)[:200]!r}"
    seconds, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if seconds > SECONDS or grown > MEMORY:
        return "VIOLATION", f"{seconds:.1f} s, {grown >> 10} MiB more ({end}, {why})"
    return end, why


def _work(pipe, inputs, folder):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries in C++ say; `watermark.cli` does so too
    for family, number in inputs:
        pipe.send(outcome(family, number, folder))


def outcomes(inputs, folder):
    """{(family, number): (end, why)}, each worked on by a process that may hang or die of it."""
    found, context = {}, multiprocessing.get_context("spawn")
    while left := inputs[len(found):]:
        here, there = context.Pipe()
        worker = context.Process(target=_work, args=(there, left, folder), daemon=True)
        worker.start()
        there.close()
        patience = 600.0  # for the imports, on a busy machine; then for each input
        for each in left:
            try:
                found[each] = here.recv() if here.poll(patience) else ("VIOLATION", "hangs")
            except EOFError:
                worker.join()
                found[each] = "VIOLATION", f"the process died of it ({worker.exitcode})"
            if found[each][1] and ("hangs" in found[each][1] or "died" in found[each][1]):
                break
            patience = 3 * SECONDS
        worker.kill()
        worker.join()
    return found


def main():
    """Counts; the exit code."""
    logging.set_verbosity("error")
    families = FLAGS.families or list(FAMILIES)
    inputs = [(families[i % len(families)], FLAGS.seed + i) for i in range(FLAGS.count)]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        found = outcomes(inputs, Path(folder))
    counts = collections.Counter((family, end) for (family, _), (end, _) in found.items())
    for family in families:
        print(f"{family:8}  " + ", ".join(f"{counts[family, end]} {end}" for end in ("refused", "read", "VIOLATION")))
    bad = {each: why for each, (end, why) in found.items() if end == "VIOLATION"}
    for (family, number), why in bad.items():
        print(f"  {family} {number}: {why}")
    print(f"{len(found)} hostile inputs, {len(bad)} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    flags.DEFINE_integer("count", 1200, "inputs", 1)
    flags.DEFINE_integer("seed", 0, "number of the first")
    define_several("families", None, f"of {', '.join(FAMILIES)}; default: all", choices=tuple(FAMILIES))
    scripts.run_script(main)
