"""Flags that list values, with commas, given several times, or both; and flags that were given without a value."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags


class _Several(flags.Flag):
    """absl's own list flag keeps what was given last, and says nothing of the rest."""

    def parse(self, argument):
        """Adds to what the command line gave before."""
        before = self.value if self.present else []
        super().parse(argument)
        self.value = [*before, *self.value]


def define_several(name: str, default: Sequence[str] | None, help: str,
                   flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag whose value is a list of str; without `default`, None."""
    flags.DEFINE_flag(_Several(flags.ListParser(), flags.CsvListSerializer(","), name, default, help), flag_values)


def check_given(values: flags.FlagValues) -> None:
    """Refuses, with a ValueError, a flag that was given empty: a check that it asks for would not be made.

    Flags whose help says that they may be empty may.
    """
    for flag in map(values.__getitem__, values):
        parts = flag.value if isinstance(flag.value, list) else [flag.value]
        empty = not any(parts) if isinstance(flag.value, list) else isinstance(flag.value, str) and not parts[0].strip()
        if flag.present and empty and "may be empty" not in flag.help:
            raise ValueError(f"--{flag.name}=: expected a value, got none; is a variable empty?")
