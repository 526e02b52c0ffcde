"""Writes RESULTS.md: the score, every table from the records there are, and the figures that go with them.

Records that the project ships count too; nothing new is made. A row without a trial is left out. Well under a minute;
`--workdir=.` writes the page and the tables that the project ships, else they go to runs/.

    python experiments/render.py
"""

import dataclasses
import importlib.util
from pathlib import Path

from watermark.lab import runner, scripts
from watermark.files import whole
from watermark.hosts import HOSTS
from watermark.lab.runner import Options, Trials
from watermark.lab.score import Score
from watermark.schemes import MODULES

HERE = Path(__file__).parent
NAMES = {"quick": ""}  # of the page
# Figures drawn from the same models as a table, and figures without one: what is to be seen, and by which script.
BESIDE = {"evaluate_hosts": ("training",), "table6_pruning": ("figS1",), "recipe": ("embedding",),
          "visualizer": ("fig8", "fig9"), "evidence_false_claims": ("evidence",), "evidence_detection": ("detection",)}
FIGURES = {
    "fig3": ("Triggers, their gradients, S₀ and S (Fig. 3)", "fig3_triggers"),
    "figS2": ("After fine-tuning, every host (supplementary Fig. 2)", "figS2_finetuning"),
    "figS3": ("After further keys, every host (supplementary Fig. 3)", "figS3_overwriting"),
}


def tables():
    """The tables of all scripts, those of the paper first, in its order."""
    paths = [path for path in HERE.glob("*.py") if "\nTABLE = " in path.read_text()]
    return [_loaded(path).TABLE for path in sorted(paths, key=lambda path: (not path.stem.startswith("table"),
            len(path.stem.split("_")[0]), path.stem))]


def _loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(lab, options):
    """Assembles the page from the records there are."""
    total, parts = Score(), []
    everything = Options(hosts=options.hosts or list(HOSTS), schemes=list(MODULES), reuse=True)
    for table in tables():
        trials = Trials(lab, table, everything)
        if not (made := [row for row, found in zip(trials.rows, trials.found(), strict=True) if found]):
            continue
        most = max(map(len, trials.found()))
        trials = Trials(dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, trials=most)),
                        dataclasses.replace(table, grid=made), everything)
        with whole(runner.results(lab) / f"{table.name}.md") as temporary:
            temporary.write_text(trials.text() + "\n")
        total += trials.score()
        parts += [f"## {table.caption.split('.')[0]}", f"`experiments/{table.name}.py`", trials.text()]
        parts += _shown(lab, *BESIDE.get(table.name, ()))
    for name, (heading, script) in FIGURES.items():
        if shown := _shown(lab, name):
            parts += [f"## {heading}", f"`experiments/{script}.py`", *shown]
    path = lab.workdir / f"RESULTS{NAMES.get(lab.profile.name, f'-{lab.profile.name}')}.md"
    with whole(path) as temporary:
        temporary.write_text("\n\n".join([*_opening(lab, total), *parts]) + "\n")
    lab.log(str(path))


def _opening(lab, total):
    """The score, and every cell that disagrees."""
    cells = "\n".join(f"- {disagreement}" for disagreement in total.disagreements)
    return [f"# Results, profile {lab.profile.name}", f"**Score against the paper: {total}.**",
            "Each table is printed by `python experiments/<name>.py` from the records in `results/`, one line a trial; "
            "this page is written by `python experiments/render.py`.",
            *([f"Cells that disagree:\n\n{cells}"] if cells else [])]


def _shown(lab, *names):
    folder = runner.RESULTS / lab.profile.name / "figures"
    paths = [folder / f"{name}.png" for name in names]
    return [f"![{path.stem}](results/{folder.parent.name}/figures/{path.name})" for path in paths if path.exists()]


if __name__ == "__main__":
    scripts.run_main(main)
