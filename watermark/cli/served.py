"""What `verify` and `inspect` share: suspects, and the flags for those that are served."""

import os
from urllib.parse import urlsplit

from absl import flags

from watermark.cli import common
from watermark.errors import one_line
from watermark.suspects import is_url, load_suspect
from watermark.suspects.exchange import doubtful
from watermark.suspects.remote import TOKEN

OF_FORM = ("payload", "answer", "input_name")  # that another service may not have
REMOTE = (*OF_FORM, "timeout", "retries", "transcript", "ca_bundle")  # flags for a URL


def define_remote(values):
    """Flags for querying a served suspect."""
    text = flags.DEFINE_string
    text("signature", None, "of a SavedModel", flag_values=values)
    text("payload", None, "what goes to a URL: json, numbers; png, 8-bit images; columns, TensorFlow Serving's; "
         "multipart:FIELD, a form; json:FIELD, base64", flag_values=values)
    text("answer", None, "json:FIELD, where a URL answers with JSON that holds the image", flag_values=values)
    text("input_name", None, "of the input tensor of a URL's model", flag_values=values)
    flags.DEFINE_float("timeout", 60.0, "seconds for a request to a URL, to the last byte of its answer", 0.01,
                       flag_values=values)
    flags.DEFINE_integer("retries", 3, "of a request to a URL that was refused or timed out", 0, flag_values=values)
    text("transcript", None, "add a line for every request to this file", flag_values=values)
    text("ca_bundle", None, "certificates (PEM) to trust for https, instead of the usual ones", flag_values=values)


def check_remote(values, suspects):
    """A ValueError where flags for a URL are given and no suspect is one: a transcript would be missed later."""
    if not any(map(is_url, suspects)):
        common.check_unused(values, REMOTE, "is for a suspect that is a URL")


def of_url(values, spec):
    """The flags for a URL, where `spec` is one."""
    return {name: values[name].value for name in REMOTE} if is_url(spec) else {}


def check_token(suspects):
    """A ValueError where the one bearer token would go to several servers, of which one may be the other side's."""
    hosts = list(dict.fromkeys(urlsplit(spec).hostname for spec in suspects if is_url(spec) and not doubtful(spec)))
    if os.environ.get(TOKEN) and len(hosts) > 1:
        raise ValueError(f"{TOKEN} is set and would go to {' and to '.join(map(one_line, hosts))}; ask each in a "
                         "command of its own")


def open_suspect(values, place=None):
    """The suspect of the flags, as one callable, from where it lies; layers of --custom_objects are made known."""
    common.register(values)
    remote = of_url(values, values.suspect)
    return load_suspect(place or values.suspect, output=values.output, signature=values.signature,
                        allow_lambda=values.allow_lambda, fixed=common.fixed_inputs(values), **remote)
