"""watermark verify --suspect=model.keras --key=key.npz

Asks a suspect for its answer to the key's trigger image, and fresh random keys for comparison. The suspect is a .keras,
.h5, .tflite or .onnx file, a SavedModel folder, a URL (TensorFlow Serving :predict, Open Inference Protocol v2 /infer,
or any address that answers a PNG with an image; a bearer token is read from WATERMARK_TOKEN), or a folder of response
images that someone else made from --write_queries=DIR.

Exit code 0: the mark is there (and the claim stands, with --commitment); 1: not; 2: error. Seconds; a minute with
1000 fresh keys of 80x80.
"""

import dataclasses
import json
import sys
from pathlib import Path

from absl import flags

import watermark
from watermark import commitments, inference, judgement
from watermark.cli import common
from watermark.cli.common import required
from watermark.keys import load_key, random_keys
from watermark.models import load_model
from watermark.report import write_report
from watermark.suspects import is_saved_model, is_url, load_suspect
from watermark.suspects.folder import write_queries
from watermark.verification import null_label

REMOTE_NULL_KEYS = 20  # a service may ask money for each


def define(values):
    """The verb's flags."""
    text, number, switch = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_bool
    text("suspect", None, "what to ask: a file, a folder or a URL", flag_values=values)
    text("key", None, "the owner's key file", flag_values=values)
    flags.DEFINE_enum("rule", "evidence", list(judgement.RULES), "what decides: the evidence of fresh keys, or the "
                      "paper's d <= η", flag_values=values)
    number("null_keys", None, f"fresh keys asked beside the key; default 1000, {REMOTE_NULL_KEYS} for a URL, 0 for a "
           "folder of images", 0, flag_values=values)
    switch("json", False, "print the result as JSON", flag_values=values)
    text("report", None, "write a page (.html) that anyone can read", flag_values=values)
    text("commitment", None, "the owner's published commitment; the claim must stand under it", flag_values=values)
    text("timestamp", None, "its time stamp, an RFC 3161 response (.tsr)", flag_values=values)
    text("tsa_roots", None, "certificates (PEM) of the time-stamp authorities that you trust", flag_values=values)
    text("visualizer", None, "a visualizer (.keras) that turns the answer into a picture for the report",
         flag_values=values)
    text("unmarked", None, "an unmarked model, to measure the rate of false claims on", flag_values=values)
    text("write_queries", None, "write the questions as images into this folder, and ask nobody", flag_values=values)
    text("output", None, "name of the suspect's output, where there are several", flag_values=values)
    text("signature", None, "of a SavedModel", flag_values=values)
    switch("allow_lambda", False, "run Python code that a model file carries", flag_values=values)
    common.define_range(values)
    common.define_inputs(values)
    flags.DEFINE_enum("payload", None, ["json", "png"], "what goes to a URL: numbers, or 8-bit images",
                      flag_values=values)
    text("input_name", None, "of the input tensor of a URL's model (/infer)", flag_values=values)
    flags.DEFINE_float("timeout", 30.0, "seconds that a URL may be silent", 0.01, flag_values=values)
    number("retries", 3, "of a request to a URL that was refused or timed out", 0, flag_values=values)
    text("transcript", None, "add a line for every request to this file", flag_values=values)
    text("ca_bundle", None, "certificates (PEM) to trust for https, instead of the usual ones", flag_values=values)


def run(values):
    """Asks, judges, prints; returns 0 or 1."""
    required(values, "key")
    key = load_key(values.key)
    if values.write_queries:
        return _write_queries(values, key)
    required(values, "suspect")
    commitment = commitments.load_commitment(values.commitment) if values.commitment else None
    if values.report and Path(values.report).suffix != ".html":
        raise ValueError(f"--report={values.report}: expected a name that ends in .html")
    suspect = _suspect(values)
    findings = _findings(values, key, commitment)
    unmarked = load_suspect(values.unmarked, allow_lambda=values.allow_lambda) if values.unmarked else None
    judged = judgement.judge(suspect, key, null_keys=_null_keys(values), rule=values.rule, findings=findings,
                             unmarked=unmarked)
    result = _result(values, judged, suspect)
    if values.report:
        visualizer = load_model(values.visualizer) if values.visualizer else None
        write_report(values.report, judged, result, visualizer)
        print(f"{values.report}: the report", file=sys.stderr)
    print(json.dumps(result, indent=1, ensure_ascii=False) if values.json else judgement.words(judged))
    return 0 if judged.stands else 1


def _null_keys(values):
    if values.null_keys is not None:
        return values.null_keys
    if is_url(values.suspect):
        return REMOTE_NULL_KEYS
    path = Path(values.suspect)
    return 0 if path.is_dir() and not is_saved_model(path) else 1000


def _write_queries(values, key):
    count = values.null_keys or 0
    images = key.trigger[None]
    if count:
        images = [*images, *random_keys(key.kind, count, null_label(key))[0]]
    write_queries(values.write_queries, images)
    print(f"{values.write_queries}: {len(images)} questions; put the answers into a folder under the same names, and "
          f"verify with --suspect=that folder --null_keys={count}")
    return 0


def _suspect(values):
    common.register(values)
    remote = {}
    if is_url(values.suspect):
        names = ("payload", "input_name", "timeout", "retries", "transcript", "ca_bundle")
        remote = {name: values[name].value for name in names}
    return load_suspect(values.suspect, output=values.output, signature=values.signature,
                        allow_lambda=values.allow_lambda, pixels=values.range or "0,1",
                        fixed=common.fixed_inputs(values), **remote)


def _findings(values, key, commitment):
    if commitment is None:
        if values.timestamp:
            raise ValueError("--timestamp is the time stamp of a --commitment, which is not given")
        return None
    findings = commitments.check(key, commitment)
    if values.timestamp:
        if not values.tsa_roots:
            raise ValueError("--timestamp needs --tsa_roots=PEM, the certificates of authorities that you trust")
        findings.append(commitments.stamped(commitment, values.timestamp, values.tsa_roots))
    return findings


def _result(values, judged, suspect):
    """The result as JSON-able values: everything that the report shows, and no secret."""
    return {
        "stands": judged.stands, "found": judged.found, "rule": values.rule, "statement": judged.statement,
        **dataclasses.asdict(judged.verdict), "evident": judged.verdict.evident,
        "claim": None if judged.findings is None else [dataclasses.asdict(finding) for finding in judged.findings],
        "unmarked": judged.unmarked, "suspect": values.suspect, "key": commitments.commit(judged.key)["key"],
        "owner": judged.key.owner, "transcript": getattr(suspect, "log", []), "versions": inference.versions(),
        "watermark": watermark.__version__,
    }
