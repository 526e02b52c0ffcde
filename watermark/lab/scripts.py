"""The flags of experiment scripts, and how they end."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from watermark.lab import runner
from watermark import data
from watermark.compute import PRECISIONS, Compute
from watermark.errors import Interrupted, Stopped, WatermarkError, lack
from watermark.files import check_place
from watermark.hosts import HOSTS
from watermark.lab.cluster import Ray
from watermark.lab.execution import Local, Shard
from watermark.lab.lab import Lab
from watermark.lab.profiles import PROFILES, get_profile
from watermark.lab.runner import Options
from watermark.lab.tables import Table
from watermark.schemes import MODULES, OURS
from watermark.several import define_several, parse

FLAGS = flags.FLAGS
WORKDIR = "runs"
OF_TABLES = ("ready", "reuse", "rows", "shard", "runner", "hosts", "schemes", "trials", "first_seed")
OF_FIGURES = ("pictures",)
RUNNERS = {"local": Local, "ray": lambda: Ray(FLAGS.ray_address, FLAGS.ray_gpus)}


def define_flags(schemes: Sequence[str] = (OURS,)) -> None:
    """The flags that all experiments share; `schemes` is the default of the one of that name."""
    flags.DEFINE_enum("profile", "quick", list(PROFILES), "how much to spend")
    flags.DEFINE_string("workdir", WORKDIR, "folder of checkpoints/, results/ and runs/ that is written; . for those "
                        "that the project ships")
    flags.DEFINE_integer("trials", None, "seeds per row; default is the profile's", lower_bound=1)
    flags.DEFINE_integer("first_seed", 0, "the first of the trials' seeds; those of quick's recipe were chosen with "
                         "0 to 2 (docs/recipe.md)", lower_bound=0)
    define_several("hosts", None, f"some of {', '.join(HOSTS)}; default: those whose models are there")
    define_several("schemes", schemes, f"some of {', '.join(MODULES)}")
    define_several("rows", [], "axis=value: only the rows that have it, such as scale=2,scale=3,marked=True")
    flags.DEFINE_string("data_dir", None, "folder of image sets; default is the environment's WATERMARK_DATA")
    flags.DEFINE_string("pictures", "drawn", "copyright images of the figures: a set (drawn, copyright) or a folder")
    flags.DEFINE_float("stop_after", None, "minutes after which no trial starts, or training stops", lower_bound=0.0)
    flags.DEFINE_enum("precision", "bfloat16", PRECISIONS, "of training")
    flags.DEFINE_bool("reuse", False, "count the records that the project ships, too")
    flags.DEFINE_bool("ready", False, "make only the trials whose models are there: nothing is trained")
    flags.DEFINE_enum("runner", "local", list(RUNNERS), "who makes the trials: this process, or a Ray cluster, an "
                      "actor a mark")
    flags.DEFINE_string("ray_address", None, "of the cluster, such as auto or ray-head:6379; default: this machine")
    flags.DEFINE_float("ray_gpus", Ray.gpus, "what an actor takes of a GPU", lower_bound=0.0)
    flags.DEFINE_string("shard", None, "i/n: make the i-th of n shares of the trials, on this of n machines; the files "
                        "of records of all of them, in one folder, are one table")


def options() -> Options:
    """What the flags ask for."""
    shard = Shard.of(FLAGS.shard) if FLAGS.shard else None
    return Options(FLAGS.hosts, FLAGS.schemes, FLAGS.rows, FLAGS.stop_after, FLAGS.reuse, shard, FLAGS.ready,
                   RUNNERS[FLAGS.runner]())


def lab() -> Lab:
    """The `Lab` that the flags describe."""
    profile = get_profile(FLAGS.profile)
    if FLAGS.trials:
        profile = dataclasses.replace(profile, trials=FLAGS.trials)
    profile = dataclasses.replace(profile, first_seed=FLAGS.first_seed)
    told = {"--data_dir": FLAGS.data_dir} if FLAGS.data_dir else {"WATERMARK_DATA": os.environ.get("WATERMARK_DATA")}
    for name, folder in told.items():
        if folder and not Path(folder).is_dir():  # stand-ins would be taken for the images that were meant
            raise ValueError(f"{name}={folder}: no such folder")
    check_place(Path(FLAGS.workdir) / "results", f"--workdir={FLAGS.workdir}")
    if FLAGS.pictures not in data.names() and not Path(FLAGS.pictures).is_dir():
        raise ValueError(f"--pictures={FLAGS.pictures}: no such folder, nor a set: drawn, copyright")
    return Lab.at(FLAGS.workdir, profile, compute=Compute(FLAGS.precision), data_dir=FLAGS.data_dir,
                  pictures=FLAGS.pictures)


def run_main(main: Callable[[Lab, Options], object], *, tables: Sequence[Table] = (),
             takes: Sequence[str] = ("hosts",)) -> None:
    """Runs `main` as `run_script` does, with the flags that all experiments share.

    Flags on which trials are made are refused unless it makes those of `tables`, or `takes` names them; where it does,
    those of figures are. Where there are no trials, --stop_after ends the training that is under way.
    """
    refused = OF_FIGURES if tables else set(OF_TABLES) - set(takes)

    def with_lab():
        if given := sorted(name for name in refused if FLAGS[name].present):
            others = "draw figures" if tables else "make tables"
            raise ValueError(f"--{given[0]} is for scripts that {others}; this one takes no notice of it")
        _check_flags(tables)
        made = lab()
        if not tables and FLAGS.stop_after is not None:
            made = dataclasses.replace(made, deadline=time.monotonic() + 60.0 * FLAGS.stop_after)
        main(made, options())

    define_flags(_usual(tables))
    run_script(with_lab, refused)


def run_script(main: Callable[[], int | None], refused: Collection[str] = ()) -> None:
    """Runs `main` under absl; what a user can mend comes as one line and exit code 2, else the code is what it returns.

    None is 0; a deadline is 0 too, and Ctrl-C 130. The flags are the script's own: they are defined before; those that
    it has `refused` to take are left out of its help.
    """

    def guarded(argv):
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a pipe in Latin-1 has no η
        # absl's app turns these on; TensorFlow's reports on every file it saves would bury the script's own words.
        absl_logging.set_verbosity(absl_logging.WARNING)
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        absl_logging.get_absl_handler().setFormatter(logging.Formatter("note: %(message)s"))
        try:
            if len(argv) > 1:
                raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --name=value")
            return main() or 0
        except Interrupted as stopped:
            print(f"{stopped}; the same command goes on", file=sys.stderr)
            return 130
        except Stopped as stopped:
            print(f"NOTE: {stopped}; the same command goes on")
        except KeyboardInterrupt:
            print("stopped; the same command goes on with what is kept", file=sys.stderr)
            return 130
        except (WatermarkError, ValueError, OSError, FloatingPointError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except Exception as error:  # whatever a library calls a lack of memory
            if not (words := lack(error)):
                raise
            print(f"error: {words}", file=sys.stderr)
            return 2
        return 0

    main_module = sys.modules["__main__"]
    app.run(guarded, flags_parser=lambda argv: parse(argv, main_module.__doc__, __name__, left_out=refused))


def _check_flags(tables):
    """Refuses flags that nothing would take notice of, here."""
    if tables and FLAGS["schemes"].present and {row.get("scheme") for table in tables for row in table.grid} == {None}:
        raise ValueError(f"--schemes={','.join(FLAGS.schemes)}: all rows of this table are of {OURS}")
    if FLAGS.runner != "ray" and (given := [name for name in ("ray_address", "ray_gpus") if FLAGS[name].present]):
        raise ValueError(f"--{given[0]} is for --runner=ray, this is --runner={FLAGS.runner}")


def one_host(options: Options) -> str:
    """The one host that a figure is of, DnCNN where none is named; a ValueError for several."""
    if len(hosts := options.hosts or [next(iter(HOSTS))]) > 1:
        raise ValueError(f"--hosts={','.join(hosts)}: this figure is of one host")
    return hosts[0]


def _usual(tables):
    """Ours, or all schemes of tables that are of others alone."""
    ours, there = [OURS], {row.get("scheme") for table in tables for row in table.grid} & set(MODULES)
    return sorted(there - set(ours)) if there.isdisjoint(ours) and there else ours


def run(table: Table) -> None:
    """The whole of an experiment script after its axes."""
    run_main(lambda lab, options: runner.make(lab, table, options), tables=[table])
