"""A flag that lists values: with commas, given several times, or both."""

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
