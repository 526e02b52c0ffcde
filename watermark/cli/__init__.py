"""The command line: watermark VERB --flag=value. Exit code 0 is yes or done, 1 no, 2 an error, said in one line."""

import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings

from absl import flags

import watermark
from watermark.cli import helping
from watermark.errors import EXPECTED, FAILURES, Stopped, one_line, printable, told
from watermark.several import check_given

VERBS = {
    "keygen": "draws an owner's key, and a public commitment to it",
    "embed": "marks a model with a key",
    "verify": "asks a suspect whose it is",
    "attack": "prunes, fine-tunes, overwrites, or forges a claim",
    "export": "writes a marked model in another form and verifies it there",
    "inspect": "says what a key, commitment or model file is, without showing a secret",
    "demo": "marks the shipped DnCNN, prunes it, verifies, and draws a panel; needs nothing",
}


KEEP = ("keygen", "embed", "attack")  # verbs that, stopped, have something to go on with
UNREAD = 128 + 13  # what a program ends with whose output nobody reads any more: SIGPIPE, which Windows lacks
LIBRARIES = ("absl", "h5py", "httpx", "PIL", "tensorflow", "tf2onnx", "tifffile")  # that log warnings


def main(argv=None):
    """Runs one verb; returns the exit code."""
    code = None
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout:
            sys.stdout.flush()  # now, while there is somebody to tell
        return code
    except OSError as error:  # of standard output: nobody reads it any more, as behind `| head`, or the disk is full
        with contextlib.suppress(OSError):  # what is left would fail once more when the process ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return UNREAD
        if code != 2:
            print(f"error: {_line(error)}", file=sys.stderr)
        return 2


def _main(argv):
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb in ("--version", "version"):
        print(f"watermark {watermark.__version__}")
        return 0
    if os.name == "nt":
        print("error: Windows has no file locks and permissions as keys need them; expected Linux, macOS, or WSL on "
              "Windows", file=sys.stderr)
        return 2
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
        print(f"note: {one_line(record.getMessage())}", file=sys.stderr)


def usage():
    """What `watermark --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{width}}  {what}" for verb, what in VERBS.items())
    return f"watermark VERB --flag=value …\n\n{verbs}\n\nwatermark VERB --help lists a verb's flags."


def _run(verb, rest):
    try:
        with _quiet(), _stoppable():
            return _verb(verb, rest)
    except KeyboardInterrupt as stop:
        print("stopped" + ("; the same command goes on with what it has kept" if verb in KEEP else ""), file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except Stopped as stopped:
        print(f"{one_line(stopped)}; {'the same command goes on there' if verb in KEEP else 'nothing is kept'}",
              file=sys.stderr)
        return 130
    except BrokenPipeError:  # other pipes than a terminal's are not written to without a try
        raise
    except FAILURES as error:
        if os.environ.get("WATERMARK_DEBUG"):
            print(printable(traceback.format_exc()), file=sys.stderr)
        print(f"error: {_line(error)}", file=sys.stderr)
        return 2


def _verb(verb, rest):
    if {"--help", "-h", "--helpfull"} & set(rest):
        page = helping.page(verb)
        print((page.read_text(encoding="utf-8") if page.exists() else helping.text(verb)).rstrip())
        return 0
    values = flags.FlagValues()
    module = importlib.import_module(f"watermark.cli.{verb}")
    module.define(values)
    values.set_gnu_getopt(True)  # flags may stand behind it
    try:
        left = values([verb, *rest])[1:]
    except flags.UnrecognizedFlagError as error:
        way = "; a suspect is asked: --suspect=…" if (verb, error.flagname) == ("verify", "model") else ""
        raise ValueError(f"{error}{way}; watermark {verb} --help lists them") from error
    if len(left) == 1 and "file" in values and not values.file:  # watermark inspect FILE
        values.file = left.pop()
    if left:
        raise ValueError(f"unexpected argument {left[0]!r}; flags look like --name=value")
    check_given(values)
    return module.run(values) or 0


@contextlib.contextmanager
def _quiet():
    """Within, a terminal sees what this program says and nothing else.

    TensorFlow, XNNPACK and ONNX Runtime write to file descriptor 2, whatever their log levels; PIL and numpy warn. And
    what is printed comes in part from files and servers of others, who may write to terminals in control characters.
    """
    if os.environ.get("WATERMARK_DEBUG") or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, nowhere)
        stack.callback(os.close, kept)
        if sys.stderr is sys.__stderr__:  # a captured one does not write to the descriptor
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(
                open(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors="replace", closefd=False))))
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere, 2)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a pipe in Latin-1 has no ρ; JSON keeps it so
        stack.enter_context(contextlib.redirect_stdout(_Printable(sys.stdout)))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
        yield


class _Printable:
    """A text stream whose control characters are spelt out."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        """Writes text."""
        return self.stream.write(printable(text))


@contextlib.contextmanager
def _stoppable():
    """Within, SIGTERM ends what runs as Ctrl-C does: what was begun is cleaned up or kept to go on with.

    A second one ends the process at once: libraries in C, such as the one that runs a suspect without end, never come
    to the first.
    """

    def stop(number, _):
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_end_at_the_second, args=[reader], daemon=True).start()
    before, noted = signal.signal(signal.SIGTERM, stop), signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(noted)
        signal.signal(signal.SIGTERM, before)
        os.close(writer)  # which ends the thread


def _end_at_the_second(reader):
    """Reads the numbers of this process's signals, a byte each, which Python writes when they come."""
    with open(reader, "rb", buffering=0) as numbers:
        stops = 0
        while number := numbers.read(1):
            stops += number[0] in (signal.SIGINT, signal.SIGTERM)
            if stops == 2:
                os._exit(128 + number[0])


def _line(error):
    """An error in one line; those that are not the project's own say how to see more."""
    expected = (*EXPECTED, flags.Error)
    return told(error, expected) + ("" if isinstance(error, expected) else " (WATERMARK_DEBUG=1 shows where)")
