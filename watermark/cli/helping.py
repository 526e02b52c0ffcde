"""What `watermark VERB --help` prints, kept as text: the flags' definitions import TensorFlow, which takes seconds.

    python -c "from watermark.cli import helping; helping.write()"

writes watermark/pages/help-VERB.txt again; a test says where one is not what the flags are.
"""

import importlib
import textwrap
from pathlib import Path

from absl import flags

from watermark import files

PAGES = Path(__file__).parents[1] / "pages"
WIDTH = 100
# The flags that matter, in the order of a first use; the others follow in the order of the alphabet.
FIRST = {
    "keygen": ("owner", "out", "model", "sign", "task", "size"),
    "embed": ("model", "images", "task", "sigma", "key", "out", "sign", "steps", "range", "pairs"),
    "verify": ("suspect", "key", "commitment", "timestamp", "tsa_roots", "unmarked", "report", "json", "null_keys",
               "range", "write_queries"),
    "attack": ("kind", "model", "out", "rate", "images", "task", "steps", "by", "owner"),
    "export": ("model", "out", "key", "format", "images"),
    "inspect": ("file", "model", "suspect", "images", "task", "range"),
    "demo": ("out", "steps"),
}


def page(verb):
    """Where the text lies."""
    return PAGES / f"help-{verb}.txt"


def text(verb):
    """The help of a verb, from its module."""
    module, values = importlib.import_module(f"watermark.cli.{verb}"), flags.FlagValues()
    module.define(values)
    first = FIRST.get(verb, ())
    rest = sorted(set(values) - set(first))
    return "\n".join([module.__doc__.strip(), "", "Flags:", *(_flag(values[name]) for name in first),
                      *(["", "More flags:"] if rest else []), *(_flag(values[name]) for name in rest)]) + "\n"


def _flag(flag):
    """A flag with its values, its default and what it is, in a few lines."""
    values = getattr(flag.parser, "enum_values", None)
    form = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}={'|'.join(values) if values else '…'}"
    default = "" if flag.default in (None, [], "") else f" (default {flag.default_as_str})".replace("'", "")
    # absl puts an enumeration's values before it, and behind a list's what the text says already.
    what = flag.help.split(">: ", 1)[-1].split(";\n    repeat")[0]
    return textwrap.fill(f"{form}  {what}{default}", WIDTH, initial_indent="  ", subsequent_indent=" " * 6,
                         break_on_hyphens=False, break_long_words=False)


def write():
    """Writes the text of every verb."""
    for verb in FIRST:
        files.write(page(verb), text(verb))
