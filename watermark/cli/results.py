"""What a verification was of, with what and when: the facts that JSON and report state beside the judgement."""

import contextlib
import dataclasses
import hashlib
import math
import shlex
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import watermark
from watermark import compute, judgement
from watermark.cli.fitting_keys import HIDDEN
from watermark.errors import FAILURES, lack
from watermark.files import sha256
from watermark.limits import LARGEST, onnx_files
from watermark.suspects import is_function, is_saved_model, is_url
from watermark.suspects.exchange import doubtful, shown, veiled
from watermark.suspects.folder import answer_files

FORMS = {".keras": "Keras model", ".h5": "Keras model, HDF5", ".hdf5": "Keras model, HDF5", ".tflite": "TFLite model",
         ".onnx": "ONNX model", ".py": "Python function"}
NOWHERE = ("report", "json", "transcript", "fresh_seed", "null_keys")  # flags that change nothing, or are set below
OTHERS = ("custom_objects", "unmarked", "visualizer", "tsa_roots", "ca_bundle")  # flags of files read beside it
SECRET = ("bare_seed",)  # flags whose value whoever reads the result may not know: K follows from it


def is_folder(spec):
    """Whether a suspect is a folder of answers."""
    return Path(spec).is_dir() and not is_saved_model(spec)


def name(spec):
    """A suspect, or the value of another flag, as others may see it: what may be secret in an address is left out."""
    return (veiled if doubtful(spec) else shown)(spec) if is_url(spec) else spec


@contextlib.contextmanager
def copied(values):
    """Within, {spec: where it lies, for nobody else to write to} of the suspect and of --unmarked.

    What is hashed by its name and read by its name, somebody who can write there may change in between, and back.
    Addresses, and Python, which may read what lies beside it, stay where they are. Errors name the spec.
    """
    specs = list(filter(None, (values.suspect, values.unmarked)))
    with contextlib.ExitStack() as stack:
        places = {spec: spec for spec in specs}
        for spec in filter(_is_copied, places):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="watermark-"))
            places[spec] = _copy(spec, Path(folder))
        try:
            yield places
        except FAILURES as error:
            error.args = tuple(spelt(arg, places) if isinstance(arg, str) else arg for arg in error.args)
            if isinstance(getattr(error, "filename", None), str):
                error.filename = spelt(error.filename, places)
            raise


def spelt(text, places):
    """A text in which files have the names that the user gave them."""
    for spec, place in places.items():
        text = text.replace(place, spec)
    return text


def _is_copied(spec):
    return not (is_url(spec) or is_function(spec))


def _copy(spec, folder):
    """Where the copy of a file or folder lies, in an empty folder; the spec itself where there can be none."""
    path = Path(spec)
    place = folder / (path.resolve().name if path.name in ("", "..") else path.name)
    base, into = (path, place) if path.is_dir() else (path.parent, folder)
    try:
        files, _ = _listed(*_counted(path), LARGEST)
        into.mkdir(exist_ok=True)
        for file in files:
            at = into / file.relative_to(base)
            if ".." in at.parts:
                raise ValueError(f"{file} lies outside of {base}")
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, at)
    except FAILURES as error:  # whoever opens it says better what is wrong
        if lack(error):
            raise
        return spec
    return str(place)


def identified(values, places):
    """What `_read` has, before anything is opened; None where that fails, of which whoever opens it says more."""
    with contextlib.suppress(*FAILURES):
        return _read(values, places)


def _read(values, places):
    """The `identity` of the suspect, and "also_read", {flag: SHA-256} of the other files that a result hangs on."""
    given = {flag: values[flag].value for flag in OTHERS}
    return identity(values.suspect, places[values.suspect]) | {"also_read": {
        flag: identity(spec, places.get(spec))["suspect_sha256"] for flag, spec in given.items()
        if spec and not is_url(spec)}}


def check_same(values, places, before):
    """A ValueError where what is read is no more what `identified` found, as Python may not be, which is not copied."""
    if before != _read(values, places) or any(_is_copied(spec) and spec == place for spec, place in places.items()):
        raise ValueError(f"{values.suspect}, or what is read beside it, changed while it was read; copy it to where "
                         "nobody else writes")


def identity(spec, place=None):
    """What was asked: {"suspect", "suspect_form", "suspect_sha256", "suspect_bytes"}; no digest of what a URL runs.

    `place` is where it lies now, by default where it says.
    """
    if is_url(spec):
        return {"suspect": name(spec), "suspect_form": "web service", "suspect_sha256": None, "suspect_bytes": None}
    path = Path(place or spec)
    path = Path(str(path).rpartition(":")[0]) if is_function(spec) else path  # what a function calls is not known
    digest, size = fingerprint(*_counted(path), LARGEST)
    form = "folder of response images" if is_folder(path) else "SavedModel"
    return {"suspect": spec, "suspect_form": form if path.is_dir() else FORMS.get(path.suffix, "file"),
            "suspect_sha256": digest, "suspect_bytes": size}


def _counted(path):
    """(a file or folder, the names of the files in it that count, None for all) of a suspect."""
    if is_folder(path):  # of answers: who sends it may put anything beside them
        return path, answer_files(path)
    if path.suffix == ".onnx" and path.is_file() and len(files := onnx_files(path)) > 1:  # its weights lie beside it
        return path.parent, files
    return path, None


def fingerprint(path, names=None, limit=math.inf):
    """(SHA-256, bytes) of a file; of a folder, over the names and SHA-256 of the files in it, and their sum.

    A folder with links to folders, or names that are not printable, raises an OSError.

    Args:
      path: of the file or folder.
      names: of the files that count, by default all, however deep.
      limit: bytes in all; an OSError says that there are more, before any is read.
    """
    path = Path(path)
    files, size = _listed(path, names, limit)
    if not path.is_dir():
        return sha256(path), size
    lines = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest(), size


def _listed(path, names, limit):
    """([path of a file], bytes in all) of what `fingerprint` is over."""
    inside = list(path.rglob("*") if names is None else map(path.joinpath, names)) if path.is_dir() else []
    for item in inside:
        # What lies behind a link to a folder is not listed; a line end in a name would hide the lines that follow.
        if item.is_symlink() and item.is_dir() or not item.name.isprintable():
            raise OSError(f"{path} holds {ascii(item.name)}, which is a link to a folder or no printable name")
    files = sorted(file for file in inside if file.is_file()) if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    if size > limit:
        raise OSError(f"{path} has {size} bytes, more than {limit}")
    return files, size


def command(values, fresh_seed, null_keys):
    """The command that repeats a verification to the bit; what may be secret, in an address too, is left out."""
    told = [_told(flag) for flag in map(values.__getitem__, sorted(values))
            if flag.present and flag.name not in NOWHERE]
    return shlex.join(["watermark", "verify", *told, f"--null_keys={null_keys}",
                       *([f"--fresh_seed={fresh_seed}"] if fresh_seed else [])])


def _told(flag):
    """A flag as it is typed, without what is secret."""
    if flag.name in SECRET:
        return f"--{flag.name}={HIDDEN}"
    if isinstance(flag.value, bool):
        return f"--{'' if flag.value else 'no'}{flag.name}"
    value = ",".join(map(name, flag.value)) if isinstance(flag.value, list) else name(flag.value)
    return f"--{flag.name}={value}"


def result(values, judged, suspect, read, notes):
    """The result as JSON-able values: everything that the report shows, and no secret; `notes` of asking come first."""
    verdict = judged.verdict
    facts = {
        "outcome": judged.outcome, "found": judged.found, "stands": judged.stands, "rule": judged.rule,
        "statement": judged.statement, "notes": [*notes, *judgement.notes(judged)], "bar": judgement.bar(verdict),
        **dataclasses.asdict(verdict), "evident": verdict.evident,
        "claim": None if judged.findings is None else [dataclasses.asdict(finding) for finding in judged.findings],
        "stamped": judged.stamp, "unmarked": judged.unmarked, **read,
        "key": judged.public, "owner": judged.key.owner, "verifier": values.verifier,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(values, values.fresh_seed, verdict.put),
        "transcript": getattr(suspect, "log", []), "versions": compute.versions(),
        "watermark": watermark.__version__,
    }
    return plain(facts)


def plain(value):
    """JSON has no NaN, no dates and no infinity; and names of files may be no text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else value
