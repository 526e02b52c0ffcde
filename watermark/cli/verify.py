"""watermark verify --suspect=model.keras --key=key.npz

Asks a suspect for its answer to the key's trigger image, and fresh random keys for comparison. The suspect is a .keras,
.h5, .tflite or .onnx file, a SavedModel folder, a URL (TensorFlow Serving :predict, Open Inference Protocol v2 /infer,
or any address that answers a PNG with an image; a bearer token is read from WATERMARK_TOKEN), a folder of response
images that someone else made from --write_queries=DIR, or a function of yours, --suspect=ask.py:function.

Several keys, --key=a.npz,b.npz --commitment=a.json,b.json --timestamp=a.tsr,b.tsr: 0 if the first was committed to
first.
Several --suspect, or a folder of keys, give a table; every pair that was tried counts in its evidence.

Exit code 0: the mark is found (and the claim stands, with --commitment); 1: it is not, or not surely enough; 2: error.
Seconds; a minute with 1000 fresh keys of 80x80; of a file, three times as long where the mark is not found, since it is
looked for otherwise then (--shifts=0: not).
"""

import contextlib
import functools
import json
import secrets
import shlex
import sys
from pathlib import Path

from absl import flags

from watermark import blackbox, commitments, judgement
from watermark.cli import common, many, results, served
from watermark.cli.common import required
from watermark.cli.fitting_keys import bare
from watermark.errors import one_line
from watermark.evidence import LEAST_KEYS, NULL_KEYS
from watermark.interrogation import MOST_MOVED, drawn_from
from watermark.keys import load_key, random_keys
from watermark.models import load_model
from watermark.report import write_report
from watermark.several import define_several
from watermark.suspects import SuspectError, is_url, load_suspect
from watermark.suspects.folder import FRESH, fresh_asked, write_queries

REMOTE_NULL_KEYS = 20  # a service may ask money for each
QUERIES_NULL_KEYS = 100
OF_ASKING = ("suspect", "commitment", "timestamp", "tsa_roots", "report", "visualizer", "unmarked", "verifier", "json")

README = """{count} questions to an image-processing network, each {height} rows by {width} columns of pixels.

Every question is here twice: NAME.npy holds its pixels exactly, float32 on [0, 1], rows by columns by channels;
NAME.png holds them rounded to 8 bits. Put each to the network, the .npy where the network takes numbers, and keep what
comes back under the same name in another folder: NAME.npy (best), or NAME.png, .tif, .bmp. All have to be answered, and
none may be changed, cut or sharpened on the way. {beside}end the folder back; then

    watermark verify --suspect=THAT_FOLDER --key=key.npz{flags}

The pictures look like noise and are meant to.
"""


def define(values):
    """The verb's flags."""
    text, number, switch = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_bool
    flags.DEFINE_multi_string("suspect", None, "what to ask: a file, a folder or a URL; may be given several times",
                              flag_values=values)
    define_several("key", None, "the owner's key file; several, with commas, to see which was committed to first; or a "
                   "folder of them", flag_values=values)
    flags.DEFINE_enum("rule", "evidence", list(judgement.RULES), "what decides: the evidence of fresh keys, or that "
                      "and the paper's d <= η (which a forger gets for nothing)", flag_values=values)
    number("null_keys", None, f"fresh keys asked beside the key; default {NULL_KEYS}, {REMOTE_NULL_KEYS} for a URL, "
           f"{QUERIES_NULL_KEYS} for --write_queries, and as many as these were for their answers", 0,
           flag_values=values)
    text("fresh_seed", None, "what the fresh keys are drawn from, to repeat a verification; default: this machine's "
         "randomness", flag_values=values)
    text("bare_seed", None, "for the key of an experiment, which names no owner: the seed that it was drawn from",
         flag_values=values)
    common.define_range(values)
    common.define_inputs(values)
    number("batch", None, "images that the suspect is asked at most at once", 1, flag_values=values)
    number("shifts", 1, "where the mark is not found, it is looked for in answers moved up to so many pixels and read "
           "otherwise, in files asked otherwise, too; all is counted; 0: not", 0, MOST_MOVED, flag_values=values)
    text("verifier", "", "who verifies, for the report; may be empty", flag_values=values)
    switch("json", False, "print the result as JSON", flag_values=values)
    text("report", None, "write a page (.html) that anyone can read", flag_values=values)
    define_several("commitment", None, "the owner's published commitment, one a key; the claim must stand under it",
                   flag_values=values)
    define_several("timestamp", None, "its time stamp, an RFC 3161 response (.tsr), one a commitment; nothing between "
                   "two commas for one that has none", flag_values=values)
    text("tsa_roots", None, "certificates (PEM) of the time-stamp authorities that you trust", flag_values=values)
    text("visualizer", None, "a visualizer (.keras) that turns the answer into a picture for the report",
         flag_values=values)
    text("unmarked", None, "an unmarked model, its range and inputs as told, to measure the rate of false claims on",
         flag_values=values)
    text("write_queries", None, "write the questions as images into this new or empty folder, and ask nobody",
         flag_values=values)
    text("output", None, "name of the suspect's output, where there are several", flag_values=values)
    switch("allow_lambda", False, "run Python code that a model file carries", flag_values=values)
    served.define_remote(values)


def run(values):
    """Asks, judges, prints; returns 0 or 1."""
    required(values, "key")
    served.check_remote(values, [*(values.suspect or ()), values.unmarked or ""])
    served.check_token([*(values.suspect or ()), values.unmarked or ""])
    if many.several(values):
        return many.run(values, _suspect, _again)
    values.suspect = values.suspect and values.suspect[0]
    keys = [load_key(path) for path in values.key]
    if values.write_queries:
        return _write_queries(values, keys)
    required(values, "suspect")
    if values.report:
        common.check_out(values.report, ".html", "report")
        common.check_new(values.report, "report")
    with results.copied(values) as places:
        read = results.identified(values, places)
        findings, visualizer = _findings(values, keys), _visualizer(values, keys[0])
        suspect = _suspect(values, places[values.suspect])
        results.check_same(values, places, read)
        judged, fitted = _judged(values, keys, findings, suspect, places)
        results.check_same(values, places, read)
    told = [results.result(values, one, suspect, read, notes) for one, notes in zip(judged, fitted, strict=True)]
    return _tell(values, judged, told, visualizer)


def _judged(values, keys, findings, suspect, places):
    """([Judgement of each key], [notes on how it was asked])."""
    named, judged, fitted = many.named(values), [], []
    values.null_keys, values.fresh_seed = _fresh(values, places[values.suspect])  # of all: one command repeats them
    unmarked = _unmarked(values, places[values.unmarked]) if values.unmarked else None
    with _repeatable(suspect, values.null_keys, values.fresh_seed):
        for key, found in zip(keys, findings, strict=True):
            asked = blackbox.as_suspect(suspect, key.kind, pixels=common.pixels(values), batch=values.batch)
            judged.append(_judge(values, asked, key, found, unmarked, among=len(keys)))
            verdict = judged[-1].verdict
            lines = many.notes(asked, verdict, len(keys)) + many.range_hint(asked, key, verdict)
            fitted.append([results.spelt(line, places) for line in lines])
            fitted[-1] += [many.NAMED] if named and judged[-1].found else []
            for line in fitted[-1]:
                print(f"note: {one_line(line)}", file=sys.stderr)
    return judged, fitted


def _tell(values, judged, told, visualizer):
    """Prints, and writes the report; returns 0 or 1."""
    prevails, decision = judgement.decide(judged)
    if values.json:
        several = {"claims": told, "decision": decision, "prevails": prevails and told[judged.index(prevails)]["key"]}
        print(json.dumps(told[0] if len(told) == 1 else several, indent=1, ensure_ascii=False))
    else:
        print(common.fitted(_words(judged, told, decision)))
    if values.report:
        claims = [(judgement.name(j), judgement.heading(j), j.statement) for j in judged[1:]]
        write_report(values.report, judged[0], told[0], visualizer, claims=claims, decision=decision)
        print(f"{values.report}: the report", file=sys.stderr)
    return 0 if prevails is judged[0] else 1


def _judge(values, suspect, key, findings=None, unmarked=None, among=1):
    count, named = _fresh(values)
    if unmarked is not None:
        unmarked = blackbox.as_suspect(unmarked, key.kind, pixels=common.pixels(values), batch=values.batch)
    return judgement.judge(suspect, key, rule=values.rule, findings=findings, unmarked=unmarked,
                           bare_seed=bare(values.bare_seed), among=among, null_keys=count, fresh_seed=named,
                           shifts=values.shifts)


def _again(values, suspect, key):
    """`_judge` one of many pairs."""
    with _repeatable(suspect, *_fresh(values)):
        return _judge(values, suspect, key)


@contextlib.contextmanager
def _repeatable(suspect, count, named):
    """Within, a verification of a service that breaks off says how to ask the same questions again.

    Of two with other fresh keys, K is all that they have in common.
    """
    try:
        yield
    except BaseException:
        if getattr(suspect, "watched", False):
            print(f"note: ask it again with --fresh_seed={shlex.quote(named)} --null_keys={count}; beside other fresh "
                  "keys it would see K come again", file=sys.stderr)
        raise


def _unmarked(values, place):
    """The model of --unmarked, which lies there, asked as the suspect is where it has such an output."""
    remote = served.of_url(values, values.unmarked)
    load = functools.partial(load_suspect, place, allow_lambda=values.allow_lambda,
                             fixed=common.fixed_inputs(values))
    with contextlib.suppress(ValueError, RuntimeError):  # it may be of another form
        return load(output=values.output, signature=values.signature, **remote)
    named = {"output": values.output, "signature": values.signature} if remote else {}
    return load(**named, **{name: value for name, value in remote.items() if name not in served.OF_FORM})


def _visualizer(values, key):
    """The model of --visualizer, or None; a ValueError unless it takes answers to the key."""
    if not values.visualizer:
        return None
    if not values.report:
        raise ValueError("--visualizer makes a picture for the --report, which is not given")
    model, shape = load_model(values.visualizer), key.verification.shape
    if tuple(model.input_shape[1:]) != shape:
        raise ValueError(f"--visualizer={values.visualizer} takes images {list(model.input_shape[1:])}, the key's "
                         f"answer is {list(shape)}; it was trained for another key")
    return model


def _words(judged, told, decision):
    repeat = f"  {common.COMMAND}{told[0]['command']}"
    if len(judged) == 1:
        return f"{judgement.words(judged[0])}\n{repeat}"
    return "\n\n".join([*(f"{judgement.name(j)}\n{judgement.words(j)}" for j in judged), f"{decision}\n{repeat}"])


def _fresh(values, place=None):
    """(how many fresh keys, the seed that, with the owner's secret, they follow from: see `drawn_from`)."""
    path, given = Path(place or values.suspect), values.null_keys
    folder = not is_url(values.suspect) and results.is_folder(path)
    usual = REMOTE_NULL_KEYS if is_url(values.suspect) else QUERIES_NULL_KEYS if folder else NULL_KEYS
    if not folder or values.fresh_seed:
        return usual if given is None else given, values.fresh_seed or secrets.token_hex(16)
    if given == 0:
        return 0, ""
    count, nonce = fresh_asked(path)
    if given is None and count < LEAST_KEYS:
        raise SuspectError(f"{path / FRESH} tells of {count} fresh keys, and fewer than {LEAST_KEYS} are no evidence; "
                           f"is it as --write_queries left it? --null_keys={count} takes it so")
    if given is not None and count < given:
        raise SuspectError(f"{path / FRESH} tells of {count} fresh keys, and --null_keys={given} are expected; is it "
                           "as --write_queries left it?")
    return count if given is None else given, _of_folder(nonce, count)


def _of_folder(nonce, count):
    """The seed of a folder of questions: were their number changed in it, they would be others, without answers."""
    return f"{nonce}-{count}"


def _write_queries(values, keys):
    if len(keys) > 1:
        raise ValueError("--write_queries asks for one --key")
    common.check_unused(values, OF_ASKING, "is for a verification, and --write_queries asks nobody")
    (key,), count, nonce = keys, values.null_keys, secrets.token_hex(16)
    count = QUERIES_NULL_KEYS if count is None else count
    images = [key.trigger]
    if not (key.secret or values.fresh_seed):
        print("note: this key was drawn from a bare seed, without a secret: whoever has the questions can tell which "
              "of them is its trigger", file=sys.stderr)
    if count:
        images += list(random_keys(key.kind, count, drawn_from(values.fresh_seed or _of_folder(nonce, count), key))[0])
    height, width = images[0].shape[:2]
    told = {"count": len(images), "height": height, "width": width}
    if values.fresh_seed:
        files, seed = {}, f" --fresh_seed={shlex.quote(values.fresh_seed)} --null_keys={count}"
        readme = README.format(beside="S", flags=seed, **told)
    else:
        files, seed = {FRESH: json.dumps({"null_keys": count, "nonce": nonce}) + "\n"}, ""
        readme = README.format(beside=f"Copy {FRESH} beside the answers and s", flags="", **told)
    write_queries(values.write_queries, images, files | {"README.txt": readme})
    beside = "".join(f", {name} beside them" for name in files)
    print(f"{values.write_queries}: {len(images)} questions; put the answers into a folder under the same names"
          f"{beside}, and verify with --suspect=that folder{seed}")
    return 0


def _suspect(values, place=None):
    suspect = served.open_suspect(values, place)
    if values.range and results.is_folder(values.suspect):
        raise ValueError(f"--range={values.range} is for numbers; folders of answers are read on [0, 1]")
    return suspect


def _findings(values, keys):
    """What `commitments.check` says of each key, or None for each."""
    given, stamps = values.commitment or [], values.timestamp or []
    if stamps and not given:
        raise ValueError("--timestamp is the time stamp of a --commitment, which is not given")
    if values.tsa_roots and not any(stamps):
        raise ValueError("--tsa_roots are the certificates behind a --timestamp, which is not given")
    if any(stamps) and not values.tsa_roots:
        raise ValueError("--timestamp needs --tsa_roots=PEM, the certificates of authorities that you trust")
    if not all(given):
        raise ValueError(f"--commitment={','.join(given)}: expected a file for each key, got nothing for one")
    for name, paths in (("commitment", given), ("timestamp", stamps)):
        if paths and len(paths) != len(keys):
            raise ValueError(f"--{name} names {len(paths)} files for {len(keys)} keys; expected one a key, in order")
    found = []
    for key, path, stamp in zip(keys, given or [None] * len(keys), stamps or [None] * len(keys), strict=True):
        if not path:
            found.append(None)
            continue
        commitment = commitments.load_commitment(path)
        found.append(commitments.check(key, commitment))
        if stamp:
            found[-1].append(commitments.stamped(commitment, stamp, values.tsa_roots))
    return found
