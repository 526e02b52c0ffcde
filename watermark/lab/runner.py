"""The main of every experiment script: flags, trials, records, table."""

import dataclasses
import logging
import sys
import time
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from watermark.checkpoints import CheckpointError
from watermark.data import DataError
from watermark.files import whole
from watermark.hosts import HOSTS, get_host
from watermark.lab.pipeline import SCHEMES, Lab
from watermark.lab.profiles import PROFILES, get_profile
from watermark.lab.store import Store, digest, machine, origin
from watermark.lab.tables import render
from watermark.training import Compute, Stopped

FLAGS = flags.FLAGS


def define_flags():
    """The flags that all experiments share."""
    flags.DEFINE_enum("profile", "quick", list(PROFILES), "how much to spend")
    flags.DEFINE_string("workdir", ".", "folder of checkpoints, results, runs and downloaded data")
    flags.DEFINE_integer("trials", None, "seeds per row; default is the profile's", lower_bound=1)
    flags.DEFINE_list("hosts", None, f"some of {', '.join(HOSTS)}; default: those trained for the profile")
    flags.DEFINE_list("schemes", ["ours"], f"some of {', '.join(SCHEMES)}")
    flags.DEFINE_string("data_dir", None, "folder of image sets; default is the environment's WATERMARK_DATA")
    flags.DEFINE_string("pictures", "drawn", "copyright images of the figures: a set (drawn, copyright) or a folder")
    flags.DEFINE_float("stop_after", None, "minutes after which no trial starts, or training stops", lower_bound=0.0)
    flags.DEFINE_enum("precision", "bfloat16", ["bfloat16", "float32"], "of training")
    flags.DEFINE_bool("reuse", False, "count records made elsewhere too, such as those the project ships")


def lab_from_flags():
    """The `Lab` that the flags describe."""
    profile = get_profile(FLAGS.profile)
    if FLAGS.trials:
        profile = dataclasses.replace(profile, trials=FLAGS.trials)
    if FLAGS.data_dir and not Path(FLAGS.data_dir).is_dir():
        raise ValueError(f"--data_dir={FLAGS.data_dir}: no such folder")
    return Lab(profile, Path(FLAGS.workdir), FLAGS.data_dir, Compute(FLAGS.precision), pictures=FLAGS.pictures)


def run_main(main):
    """Runs `main(lab)` under absl; what a user can mend comes as one line and exit code 2."""

    def guarded(argv):
        # absl's app turns these on; TensorFlow's reports on every file it saves would bury the script's own words.
        absl_logging.set_verbosity(absl_logging.WARNING)
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        try:
            if len(argv) > 1:
                raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --profile=quick")
            main(lab_from_flags())
        except Stopped as stopped:
            print(f"NOTE: {stopped}; the same command goes on")
        except (ValueError, DataError, CheckpointError, OSError, FloatingPointError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0

    define_flags()
    app.run(guarded)


def run(table):
    """The whole of an experiment script after its constants."""
    run_main(lambda lab: make(lab, table, hosts=FLAGS.hosts, schemes=FLAGS.schemes, stop_after=FLAGS.stop_after,
                              reuse=FLAGS.reuse))


def make(lab, table, *, hosts=None, schemes=("ours",), stop_after=None, reuse=False):
    """Makes the trials of `table` that are missing, then writes and prints it. Returns its text."""
    found = records(lab, table, hosts=hosts, schemes=schemes, stop_after=stop_after, reuse=reuse)
    rows = [row for row, _ in found]
    text = "\n\n".join([table.caption, render(rows, [values for _, values in found], table, lab.profile.trials),
                        _protocol(lab, rows)])
    with whole(_path(lab, table).with_suffix(".md")) as temporary:
        temporary.write_text(text + "\n")
    print(text)
    return text


def _path(lab, table):
    return Path(lab.workdir) / "results" / lab.profile.name / f"{table.name}.jsonl"


def records(lab, table, *, hosts=None, schemes=("ours",), stop_after=None, reuse=True):
    """[(row, values of its trials)] of `table`, the trials that are missing made first."""
    rows = _chosen(lab, table.grid, hosts, schemes)
    store = Store(_path(lab, table), None if reuse else origin(lab.workdir))
    ids = {(i, seed): _identity(lab, table, row, seed)
           for i, row in enumerate(rows) for seed in range(lab.profile.trials)}
    _make_trials(lab, table, rows, {at: id_ for at, id_ in ids.items() if id_ not in store.records}, store, stop_after)
    return [(row, [store.records[ids[i, seed]]["values"] for seed in range(lab.profile.trials)
                   if ids[i, seed] in store.records]) for i, row in enumerate(rows)]


def _chosen(lab, grid, hosts, schemes):
    """The rows asked for; without `hosts`, those whose models are there, and a line on the others.

    A host that is trained but not marked for every trial is left out too, if another one is ready: a table of what the
    project ships takes minutes, a mark minutes each.
    """
    for name in schemes:
        if name not in SCHEMES:
            raise ValueError(f"unknown scheme {name!r}; choose from {', '.join(SCHEMES)}")
    if hosts is None:
        every = dict.fromkeys(row["host"] for row in grid)
        trained = [name for name in every if lab.has_host(name)]
        ready = [name for name in trained if "scheme" not in grid[0] or all(
            lab.has_marked(name, seed, scheme) for seed in range(lab.profile.trials) for scheme in schemes)]
        hosts = ready or trained or list(every)[:1]
        if left := [name for name in every if name not in hosts]:
            lab.say(f"NOTE: not all models of {', '.join(left)} are made yet for profile {lab.profile.name}; name "
                    f"them, --hosts={','.join(left)}, to make the marks; hosts: python experiments/train_hosts.py")
    for name in hosts:
        get_host(name)
    return [row for row in grid if row["host"] in hosts and row.get("scheme") in (None, *schemes)]


def _plan(lab, row, seed):
    """What a trial starts from: its marked model, or in a table of hosts its host."""
    return lab.plan_marked(row["host"], seed, row["scheme"]) if "scheme" in row else lab.plan_host(row["host"])


def _data(lab, row, seed):
    """The image sets that a trial's numbers come from."""
    return {"train": _plan(lab, row, seed).fields["train_set"],
            "test": lab.test_images(row["host"], row.get("test_set"))[0]}


def _identity(lab, table, row, seed):
    profile = {"null_keys": lab.profile.null_keys, "crop": lab.profile.crop}
    more = filter(None, [table.depends(lab, seed, **row)] if table.depends else [])
    return digest(table.name, _plan(lab, row, seed).name, profile, lab.compute.precision, _data(lab, row, seed), row,
                  seed, *more)


def _make_trials(lab, table, rows, todo, store, stop_after):
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not todo) as bar:
        task = bar.add_task(table.name, total=len(todo))
        # Seed by seed, so that a run that is stopped early has whole tables of fewer trials.
        for (i, seed), id_ in sorted(todo.items(), key=lambda item: item[0][::-1]):
            if stop_after is not None and time.monotonic() - began > 60.0 * stop_after:
                lab.say(f"NOTE: stopped after {stop_after:g} minutes; the same command goes on")
                break
            start = time.monotonic()
            values = table.trial(lab, seed, **rows[i])
            provenance = machine() | {"origin": origin(lab.workdir), "data": _data(lab, rows[i], seed),
                                      "seconds": round(time.monotonic() - start, 2)}
            store.add({"id": id_, "table": table.name, "row": rows[i], "seed": seed, "values": values,
                       "provenance": provenance})
            bar.advance(task)


def _protocol(lab, rows):
    """What was reduced, for the table's foot."""
    data = {(row["host"], row.get("test_set"), *_data(lab, row, 0).values()): None for row in rows}
    sets = "; ".join((f"{host} trained on {train}, " if wanted is None else f"{host} ") + f"measured on {test}"
                     + (f" in place of {wanted}" if wanted not in (None, test) else "")
                     for host, wanted, train, test in data)
    if "scheme" not in rows[0]:
        return f"Profile {lab.profile.name}; {sets}."
    embed = lab.profile.embed
    held = ", ".join(host for host in dict.fromkeys(row["host"] for row in rows) if lab.profile.marking(host).others)
    clauses = [f"Profile {lab.profile.name}", f"trials per row: {lab.profile.trials} (paper: 30)",
               f"{embed.steps} embedding steps of {embed.batch_size} patches (paper: 8 epochs of batches of 128)",
               f"{held} marked with the answers to other keys held (docs/recipe.md)" if held else "",
               "mean ± standard deviation over trials", sets, f"ρ and p against {lab.profile.null_keys} fresh keys."]
    return "; ".join(filter(None, clauses))
