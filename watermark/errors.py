"""What can be wrong with files, networks, suspects and images, under one name, and how errors are told in a line.

Wrong arguments are Python's own ValueError or TypeError, files in the way its OSErrors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence

# Control characters, halves of surrogate pairs, and what turns the order of writing around; \t and \n may stay.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
# What makes a name look like another: soft hyphens, blanks of no width, tags. What joins letters may stay.
INVISIBLE = re.compile("[\t\n\u00ad\u200b\u2060-\u2064\U000e0000-\U000e0fff]")
LONGEST_NAME = 200  # characters
# What code of others may end in. The last line of many a program is sys.exit(main()), and 0 would pass for a verdict.
FAILURES = (Exception, SystemExit)
# What is said of a user's inputs; other errors come with the name of their kind.
EXPECTED = (ValueError, OSError, RuntimeError, FloatingPointError)
TRACED = re.compile(r"\Ain user code:.*?^\s+(\w+Error: .*)", re.DOTALL | re.MULTILINE)
# A program's own words, between what says where it stopped and the numbers that stopped it.
ASSERTED = re.compile(r"assertion failed: \[(.*?)\](?: \[|\s*$)", re.DOTALL | re.MULTILINE)


class WatermarkError(Exception):
    """Base of the project's errors; each is a ValueError or a RuntimeError too, and its text one line for a user."""


class ModelError(WatermarkError, ValueError):
    """A model that cannot be read or written in the way asked for."""


class Stopped(WatermarkError, RuntimeError):
    """Training reached its deadline; the same call goes on where it stopped."""


class Interrupted(Stopped):
    """Training was stopped by Ctrl-C, its state saved; the same call goes on where it stopped."""


def printable(text: object) -> str:
    r"""Text of files and servers as a terminal may see it: what would steer it is spelt out.

    >>> printable("Eve\x1b[2J")
    'Eve\\u001b[2J'
    """
    return UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", str(text))


def is_name(text: str) -> bool:
    """Whether a text can be an owner's name, which is public: all of it is seen, `LONGEST_NAME` characters at most."""
    return len(text) <= LONGEST_NAME and printable(text) == text and not INVISIBLE.search(text)


def one_line(text: object) -> str:
    """Text as one line for a terminal."""
    return printable(" ".join(str(text).split()))


def chosen(names: Sequence[str], wanted: str | None, who: object) -> str:
    """The one of some outputs that is wanted, or the only one; a ModelError where that is none, or not said."""
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted not in names:
        raise ModelError(f"{who} has the outputs {', '.join(names)}; name one of them (--output=NAME)"
                         + (f", not {wanted!r}" if wanted else ""))
    return wanted


def check_type(name: str, value: object, kind: type, way: str) -> None:
    """A TypeError unless a value is of a kind; `way` says how to come by one."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {kind.__name__}, got {type(value).__name__}; {way}")


def first_line(error: BaseException) -> str:
    """What a library's error says first, at most 200 printable characters."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({error.code!r:.150})"
    if traced := TRACED.search(str(error)):  # TensorFlow says where first
        return first_line(traced[1])
    if ASSERTED.search(str(error)):
        return brief(error, 200)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable((lines or [type(error).__name__])[0][:200])


def brief(error: BaseException, most: int) -> str:
    """An error's text in one line of so many characters, without what TensorFlow writes around that of an assertion."""
    asserted = ASSERTED.search(text := str(error))
    return one_line(asserted[1] if asserted else text)[:most]


def told(error: BaseException, expected: tuple = EXPECTED) -> str:
    """An error as one line for a user, whose kind goes without saying where it is one of `expected`."""
    if words := lack(error):
        return words
    shortened = isinstance(error, SystemExit) or TRACED.search(str(error))
    text = (first_line if shortened else one_line)(error) or type(error).__name__
    kind, _, rest = text.partition(": ")
    if shortened and kind in {one.__name__ for one in (*EXPECTED, *WatermarkError.__subclasses__())}:  # staged code's
        return rest[:400]
    return text[:400] if isinstance(error, expected) else f"{type(error).__name__}: {text[:300]}"


def lack(error: BaseException) -> str:
    """What the machine has too little of, in a line; "" where it is something else. Libraries say it in many ways."""
    text, name = str(error), getattr(error, "filename", None)
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in text:
        return f"No space left on the disk{f' of {one_line(name)}' if name else ''}; free some, and try again"
    exhausted = type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in text  # TensorFlow's, JAX's
    if isinstance(error, MemoryError) or exhausted:
        return ("out of memory; lower --batch_size or --patch where it trains, --batch or the images' size where it "
                f"asks ({first_line(error)[:120]})")
    return ""


@contextlib.contextmanager
def raised_as(error: type[WatermarkError], what: str) -> Iterator[None]:
    """At a loader's door: whatever a damaged or hostile file makes a library raise becomes the door's own error.

    Libraries raise zlib.error, struct.error, RecursionError, OverflowError, MemoryError and more on such files,
    whatever they promise; and what a program of others raises includes SystemExit.

    Args:
      error: class of the error that this loader promises; one of it passes as it is.
      what: one line that says what was expected; the library's reason follows in brackets.
    """
    try:
        yield
    except error:
        raise
    except FAILURES as reason:
        raise error(f"{what} ({first_line(reason)})") from reason
