"""Flags that list values, with commas, given several times, or both; values that no flag should have; and parsing."""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Collection, Sequence

from absl import flags


class _Several(flags.Flag):
    """absl's own list flag keeps what was given last, and says nothing of the rest."""

    choices = ()

    def parse(self, argument):
        """Adds to what the command line gave before."""
        before = self.value if self.present else []
        super().parse(argument)
        if self.choices and (strange := set(self.value) - {*self.choices}):
            raise flags.IllegalFlagValueError(f"--{self.name}={','.join(sorted(strange))}: expected some of "
                                              f"{', '.join(self.choices)}")
        self.value = [*before, *self.value]


def define_several(name: str, default: Sequence[str] | None, help: str,
                   flag_values: flags.FlagValues = flags.FLAGS, choices: Sequence[str] = ()) -> None:
    """Defines a flag whose value is a list of str, some of `choices` if there are any; without `default`, None."""
    flag = _Several(flags.ListParser(), flags.CsvListSerializer(","), name, default, help)
    flag.choices = choices
    flags.DEFINE_flag(flag, flag_values)


def check_given(values: flags.FlagValues) -> None:
    """Refuses, with a ValueError, flags given empty, numbers that are not finite, and texts with control characters.

    A check that an empty flag asks for would not be made; no bound of absl's keeps NaN out; and a line end in a file's
    name could put a line into what is printed. Flags whose help says that they may be empty may.
    """
    for flag in map(values.__getitem__, values):
        parts = flag.value if isinstance(flag.value, list) else [flag.value]
        empty = not any(parts) if isinstance(flag.value, list) else isinstance(flag.value, str) and not parts[0].strip()
        if flag.present and empty and "may be empty" not in flag.help:
            raise ValueError(f"--{flag.name}=: expected a value, got none; is a variable empty?")
        for part in parts:
            if isinstance(part, float) and not math.isfinite(part):
                raise ValueError(f"--{flag.name}={part}: expected a finite number")
            if isinstance(part, str) and any(unicodedata.category(letter) == "Cc" for letter in part):
                raise ValueError(f"--{flag.name}: expected text without line ends and other control characters")


def parse(argv: list[str], words: str | None, *modules: str, left_out: Collection[str] = ()) -> list[str]:
    """What is left of a script's arguments after its flags; else the end: 0 for help, 2 with a line for what is wrong.

    Help is `words` and the flags of `modules`, this one and the script, but for some; absl's own shows these for
    --helpfull only.
    """
    values = flags.FLAGS
    if {"--help", "-h", "-help", "--helpfull"} & set(argv[1:]):
        shown = {flag.name: flag for one in (*modules, __name__, "__main__")
                 for flag in values.get_flags_for_module(one)}
        lines = [f"  --{name}: {flag.help}{f' (default {told})' if (told := _default(flag)) else ''}"
                 for name, flag in sorted(shown.items()) if name not in left_out]
        print(f"{(words or '').strip()}\n\n" + "\n".join(lines))
        sys.exit(0)
    try:
        left = values(argv)
        check_given(values)
        return left
    except (flags.Error, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _default(flag):
    """A flag's default in words; "" where none has to be told."""
    if isinstance(flag.default, list):
        return ",".join(map(str, flag.default))
    return "" if flag.default in (None, False, "") or "default" in flag.help else str(flag.default)
