"""The command line: watermark VERB --flag=value. Exit code 0 is yes or done, 1 no, 2 an error, said in one line."""

import importlib
import logging
import os
import sys

from absl import flags

from watermark.quiet import silence

VERBS = {
    "keygen": "draws an owner's key, and a public commitment to it",
    "embed": "marks a model with a key",
    "verify": "asks a suspect whose it is",
    "attack": "prunes, fine-tunes, overwrites, or forges a claim",
    "export": "writes a marked model in another form and verifies it there",
    "inspect": "says what a key, commitment or model file is, without showing a secret",
    "demo": "marks the shipped DnCNN, prunes it, verifies, and draws a panel; needs nothing",
}


def main(argv=None):
    """Runs one verb; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb not in VERBS:
        print(f"error: unknown verb {verb!r}; choose from {', '.join(VERBS)}", file=sys.stderr)
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    log = logging.getLogger("watermark")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _Notes) for handler in log.handlers):
        log.addHandler(_Notes())
    return _run(verb, rest)


class _Notes(logging.Handler):
    """What the package has to say of its inputs, a line each on standard error."""

    def emit(self, record):
        print(f"note: {' '.join(record.getMessage().split())}", file=sys.stderr)


def usage():
    """What `watermark --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{width}}  {what}" for verb, what in VERBS.items())
    return f"watermark VERB --flag=value …\n\n{verbs}\n\nwatermark VERB --help lists a verb's flags."


def _run(verb, rest):
    values = flags.FlagValues()
    if {"--help", "-h", "--helpfull"} & set(rest):
        module = _module(verb)
        module.define(values)
        print(f"{module.__doc__.strip()}\n\n{values.get_help(include_special_flags=False).strip()}")
        return 0
    try:
        module = _module(verb)
        module.define(values)
        left = values([verb, *rest])[1:]
        if left:
            raise ValueError(f"unexpected argument {left[0]!r}; flags look like --name=value")
        return module.run(values) or 0
    except KeyboardInterrupt:
        print("stopped; the same command goes on where there is something to go on with", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("WATERMARK_DEBUG"):
            raise
        print(f"error: {_line(error)}", file=sys.stderr)
        return 2


def _module(verb):
    with silence():
        return importlib.import_module(f"watermark.cli.{verb}")


def _line(error):
    """An error in one line; those that are not the project's own say how to see more."""
    text = " ".join(str(error).split()) or type(error).__name__
    expected = isinstance(error, ValueError | OSError | RuntimeError | flags.Error | FloatingPointError)
    return text[:400] if expected else f"{type(error).__name__}: {text[:300]} (WATERMARK_DEBUG=1 shows where)"
