"""Writes RESULTS.md: the score, every table from the records there are, and the figures that go with them.

Also docs/paper_map.md: every table and figure of the paper, its script, its trials, its state.

Records that the project ships count too; nothing new is made. A row without a trial is left out. Well under a minute;
`--workdir=.` writes the page and the tables that the project ships, else they go to runs/.

    python experiments/render.py
"""

import importlib.util
import os
from pathlib import Path

from watermark.lab import runner, scripts
from watermark.files import write
from watermark.hosts import HOSTS
from watermark.lab.profiles import FOLDED
from watermark.lab.runner import Options, Trials
from watermark.lab.score import Score
from watermark.recipes import EPOCH
from watermark.schemes import MODULES

HERE = Path(__file__).parent
MAIN = "quick"  # the profile whose page is the project's
# Figures drawn from the same models as a table, and figures without one: what is to be seen, and by which script.
BESIDE = {"evaluate_hosts": ("training",), "table6_pruning": ("pruning", "figS1"),
          "table1_fidelity_denoising": ("fidelity",), "table5_uniqueness_marked": ("strangers",),
          "table7_finetuning": ("finetuning",), "table9_multiple_overwriting": ("overwriting",),
          "table11_capacity_sr": ("capacity",), "table12_capacity_schemes": ("capacity_schemes",),
          "visualizer": ("fig8", "fig9"), "evidence_false_claims": ("evidence",), "evidence_detection": ("detection",)}
FIGURES = {
    "embedding": ("The course of an embedding", "fig_embedding"),
    "fig3": ("Triggers, their gradients, S₀ and S (Fig. 3)", "fig3_triggers"),
    "figS2": ("After fine-tuning, every host (supplementary Fig. 2)", "figS2_finetuning"),
    "figS3": ("After further keys, every host (supplementary Fig. 3)", "figS3_overwriting"),
}
# Every figure of the paper: what it shows, and by which script it is drawn here, and under which name.
PAPER_FIGURES = (
    ("Fig. 1", "the basic idea", None, None),
    ("Fig. 2", "the framework", None, None),
    ("Fig. 3", "triggers, their gradients, S₀ and S", "fig3_triggers", "fig3"),
    ("Fig. 4", "where the threshold comes from", "fig4_noise", "fig4"),
    ("Fig. 5", "the visualizer's layers", None, None),
    ("Fig. 6", "the images of Set12", "fig6_fig7_test_sets", "fig6"),
    ("Fig. 7", "the images of Set14", "fig6_fig7_test_sets", "fig7"),
    ("Fig. 8", "what the visualizer shows to others", "fig8_uniqueness", "fig8"),
    ("Fig. 9", "what the visualizer shows after attacks", "fig9_robustness", "fig9"),
    ("Suppl. Fig. 1", "the same after pruning", "figS1_pruning", "figS1"),
    ("Suppl. Fig. 2", "the same after fine-tuning", "figS2_finetuning", "figS2"),
    ("Suppl. Fig. 3", "the same after further keys", "figS3_overwriting", "figS3"),
)
NOT_SHIPPED = {None: "a drawing: nothing is measured"} | dict.fromkeys(
    ("fig4", "fig6", "fig7"), "made by the script; not shipped, for it may show other people's images")
# Figures of attacked models that are gone and have been made again for the tables, not drawn anew since.
BEFORE = ("fig9", "figS2", "figS3")
MAP_WORDS = ("Where each number and picture is made here, from how many trials (the paper: 30 a row), and how far it "
             "has come, profile {profile}. The scripts lie in `experiments/`, their records in `results/{profile}/`; "
             "what they give is on one page, `RESULTS.md`. Written by `python experiments/render.py --workdir=.`.")


# What is known about why cells disagree: (table, axes of the row, words); the first that fits is printed.
REASONS = (
    ("table1_fidelity_denoising", {"test_set": "polyu"}, "PolyU's noise is none that the host is trained on, and its "
     "loss does not hold it there: λ of 1, 0.1 and 0.01 move it by +0.11, -0.03 and -0.09 dB; not known further"),
    ("table1_fidelity_denoising", {}, "a λ of 1 costs ours 1.7 to 2 times what it costs the paper's, of 0.1 as much to "
     "twice; a fourteenth of the paper's steps, of a quarter of its patches; whether that is why is not measured"),
    ("table2_fidelity_sr", {"scale": 2}, "at scales 3 and 4 the same mark costs .03 dB; not known"),
    ("table3_fidelity_schemes", {"host": "dncnn", "scheme": "ours"}, "one trial of three costs .09 dB, the others .05; "
     "not known"),
    ("table7_finetuning", {"host": "dncnn", "scheme": "deepsigns"}, "not known; one trial; NCC falls to .93 on its own "
     "data after 100 epochs, on new to .92 after 25 and .88 after 100 (paper: .9955, .988 and .957); its own rule, "
     "which takes 12 pixels of 1,600, finds 9 then on its own data, and 6, 11, 14 and 16 after 25, 50, 75 and 100 "
     "on new"),
    ("table7_finetuning", {"host": "red", "scheme": "deepsigns"}, "not known; one trial; NCC falls to .936 on its own "
     "data after 50 epochs and .904 after 100, on new to .934 after 10 and .870 after 100 (paper: .9988 or more, "
     ".999 and .977); its own rule, which takes 12 pixels of 1,600, finds 18 and 15 on its own data after 10 and 25, "
     "and 7 to 11 in all other rows"),
    ("table7_finetuning", {"scheme": "adi"}, "ten of our epochs are 200 steps of 32 patches, ten of the paper's "
     "17,700 of 128, if they are those of Train400; on new data they take it too"),
    ("table7_finetuning", {"host": "red"}, "a mark that took 1,000 steps stays within η for 1,000 of fine-tuning, on "
     "new data for 500; whether one of the paper's schedule, 14 times as long, would longer is not measured, nor a "
     "rate of 1e-4 times .35, by a public RED's kernels the paper's relative one (.5 here for all hosts, "
     "docs/recipe.md)"),
    ("table7_finetuning", {"host": "dncnn"}, "a mark that took 1,000 steps stays within η for 2,000 of fine-tuning on "
     "its own data, for 500 on new; whether one of the paper's schedule, 14 times as long, would longer is not "
     "measured"),
    ("table7_finetuning", {"host": "vdsr"}, "NCC is .946 on its own data after 100 epochs, .949 and .940 on new "
     "after 75 and 100, d 5.8, 5.6 and 6.1; the paper's fine-tuning is 88 times as long, if its epoch is that of "
     "Train400, and leaves more"),
    ("table8_overwriting", {}, "not known: at these distances, 5.1 and 4.4, the paper's own rows have an NCC of .950 "
     "to .963 in Table IX, ours .892 and .924, so that it is not only that d is 28 to 63 % above the paper's on all "
     "four hosts; part of that is the thief's recipe, here the owner's: after one by the paper's loss DnCNN's is 12 % "
     "above, RED's 24 (docs/recipe.md)"),
    ("table9_multiple_overwriting", {"host": "vdsr"}, "after two to five further keys d is twice the paper's, beyond "
     "η by 0.3 to 8 %; the first four still improve the host, which is 0.3 dB below the paper's; not known further: "
     "one by the paper's loss takes more still, d 6.7 for 5.0 after one (docs/recipe.md)"),
    ("table9_multiple_overwriting", {"host": "srdncnn"}, "after further keys d is 32 to 59 % above the paper's, beyond "
     "η from the third on; not known: one by the paper's loss takes more still, d 5.6 for 4.5 after one "
     "(docs/recipe.md)"),
    ("table9_multiple_overwriting", {}, "after further keys d of DnCNN and RED is 14 to 43 % above the paper's, "
     "beyond η DnCNN's from the second on; part of it is the thief's recipe, as in Table VIII"),
    ("table10_capacity_denoising", {}, "up to 0.014 dB more than what a key of 40x40 pixels costs by our recipe in "
     "the same trial"),
    ("table11_capacity_sr", {"size": 40, "scale": 2}, "Table II's marks and numbers"),
    ("table6_pruning", {"host": "dncnn", "scheme": "deepsigns"}, "one trial; its λ is the cheapest of those with the "
     "best NCC before any attack, at .03 dB of the .3 allowed, so that a larger one might last longer"),
    ("table6_pruning", {"host": "dncnn", "rate": 0.35}, "at trial 0's distance, 4.52, the paper's own row has an NCC "
     "of .971, ours .939, so that it is not only that pruning costs our DnCNN 1.0 to 4.7 dB more than the paper's; "
     "not known"),
    ("table6_pruning", {"host": "dncnn"}, "pruning costs our DnCNN 1.0 to 4.7 dB more than the paper's, and the mark "
     "goes with the function; at 40 % our mean and the paper's stand within a tenth of η, our trials from 8 % below it "
     "to 32 % above; that folded kernels are pruned costs a public DnCNN .4 to 2.0 dB more (docs/recipe.md); not known "
     "further"),
    ("table6_pruning", {"host": "red"}, "our RED loses 3.9 to 10.5 dB less by pruning than the paper's, and its mark "
     "lasts as its function does; a public RED loses .2 dB at most, folded or not (docs/recipe.md)"),
    ("table6_pruning", {"scheme": "deepsigns"}, "not known; one trial"),
    ("table6_pruning", {"scheme": "adi"}, "not known; one trial"),
    ("table6_pruning", {"host": "srdncnn"}, "in part the generator of the keys, which is probably not the paper's: "
     "with the other one d at 40 % is 4.87 for 3.55, the paper's 6.73 (docs/recipe.md); not known further"),
    ("table6_pruning", {}, "not known; it is not that the mark is learnt ahead of the weights: the paper's loss, 300 "
     "steps on SR-DnCNN, lasts as well (docs/recipe.md)"),
)
REMARKS = (
    "What the paper's comparison of schemes says is reproduced after ten short epochs of fine-tuning, by NCC: Base-1 "
    "(deepsigns) is lost on VDSR and, unlike the paper's, on RED's new data, Base-2 (adi) on all but SR-DnCNN's own "
    "data, ours is kept everywhere; their own rules still find 14 of 16; longer, on DnCNN and RED, Base-1 is lost on "
    "own data after 100 and from 50 on, on new from 25 and from 10 on, in the paper never, on VDSR in every row, as "
    "there; Base-2 in every row (Table VII). It is in part after a further key: by NCC both baselines are lost "
    "on all four hosts, as in the paper, but ours on DnCNN and RED too, where by d it is found; the baselines' own "
    "rules still find five of eight (Table VIII). On PSNR, of 40x40, it is reproduced on SR-DnCNN alone (of 160x160 "
    "on RED, too, .22 and .05 dB: Table XII): on DnCNN and RED Base-1 costs no more than our mark, on VDSR Base-2 "
    "less (Table III), and Base-1 embeds as fast, keys from 160x160 on faster (Table XIII). By NCC Base-1 outlives "
    "pruning (Table VI) better than in the paper on RED, VDSR and SR-DnCNN and worse on DnCNN; by its own rule it is "
    "lost in 4 of 16 rows (DnCNN .25 and .40, SR-DnCNN .30, VDSR .40). Base-2 outlives it on RED, VDSR and SR-DnCNN "
    "at every rate, by its own rule (2 of 40 labels; by its strict one, 36 of 40, in 5 of its 16 rows). Baselines' "
    "rows are no cells of the PSNR score.",
    "Where the paper's own mark costs more than 0.05 dB, PSNR is counted apart, and a row that is not within 0.05 dB "
    "is no disagreement. Table IX's NCC is in no score, since the paper's verdict there is taken to be that of d: by "
    "NCC > .95 19 of its 20 rows pass, of ours 2.",
    "The baselines' marks of DnCNN and RED of 40x40 were made in float32, and SR-DnCNN's with the corner-aligned "
    "gradient (`sr_gradient_marks`); all other marks, RED's deepsigns of 160x160 among them, in bfloat16.",
    "Keys of 320x320 pixels and more have hardly taken in the 500 to 266 steps of this profile, or not: ρ is .33 "
    "(DnCNN) and .51 (RED) at 320, .12 and .32 at 480, .04 and .22 at 600, where a claim needs .5 (Tables X and XII). "
    "Their rows show what so short a training costs, not the price of such a mark; smaller keys have .83 (VDSR's of "
    "160), .89 (RED's of 160) or more.",
    "An id is of how a model is made. Made again on another machine, or in the other arithmetic, it is not the same "
    "to the bit: of 32 rows that were, d lay 1.2 % from the first one in the median, 4.9 % at most, and the z of "
    "marks near their end 0.3 to 1.6 apart: SR-DnCNN's after five further keys 5.4 and 6.2, where 6.06 are needed "
    "(`benchmarks/repeats.py`). Verdicts as near to their bars may come out the other way.",
    "NCC is of residuals for denoisers and of images for super-resolution, by which most cells agree and which the "
    "paper's own pairs of d and NCC speak for, though its text says images (docs/recipe.md); the ranks \"by NCC\" of "
    "the detection table are of images throughout.",
)


def tables():
    """The tables of all scripts, those of the paper first, in its order."""
    paths = [path for path in HERE.glob("*.py") if "\nTABLE = " in path.read_text(encoding="utf-8")]
    return [_loaded(path).TABLE for path in sorted(paths, key=lambda path: (not path.stem.startswith("table"),
            len(path.stem.split("_")[0]), path.stem))]


def _loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(lab, options):
    """Assembles the page from the records there are."""
    scores, parts, rows = [], [], []
    everything = Options(hosts=options.hosts or list(HOSTS), schemes=list(MODULES), reuse=True)
    every = tables()
    for table in every:
        trials = Trials(lab, table, everything)
        found = [values for _, values in trials.pairs()]
        rows.append(_map_row(table, found))
        if not any(found):
            continue
        trials = trials.whole(beyond=False)
        scores.append((table, trials.score()))
        parts += [f"## {_title(table)}", f"`experiments/{table.name}.py`", runner.write(trials)]
        parts += _shown(lab, *BESIDE.get(table.name, ()))
    for name, (heading, script) in FIGURES.items():
        if shown := _shown(lab, name):
            parts += [f"## {heading}", f"`experiments/{script}.py`", *shown]
    path = lab.workdir / ("RESULTS.md" if lab.profile.name == MAIN else f"RESULTS-{lab.profile.name}.md")
    write(path, "\n\n".join([*_opening(lab, every, scores), *parts]) + "\n")
    lab.log(str(path))
    if lab.profile.name == MAIN:
        write(lab.workdir / "docs" / "paper_map.md", _map(lab, rows))


def _map_row(table, found):
    """(what, script, trials a row, state) of a table."""
    counts = [len(values) for values in found if values]
    trials = "–" if not counts else f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    state = f"{len(counts)} of {len(found)} rows" if counts else "to be made"
    return table.caption.split(" beside ")[0].rstrip(",."), table.name, trials, state


def _map(lab, rows):
    """The page docs/paper_map.md."""
    figures = [(f"{number}: {what}", script, "1" if script else "–", _figure_state(lab, name))
               for number, what, script, name in PAPER_FIGURES]
    paper = [row for row in rows if row[0].startswith(("Table ", "Section "))]
    parts = ["# Every table and figure of the paper", MAP_WORDS.format(profile=lab.profile.name)]
    for heading, some in (("Tables, and what the text states", paper), ("Figures", figures),
                          ("Beyond the paper", [row for row in rows if row not in paper])):
        lines = [f"| {what} | {f'`{script}.py`' if script else '–'} | {trials} | {state} |"
                 for what, script, trials, state in some]
        parts += [f"## {heading}", "\n".join(["| what | script | trials | state |", "|---|---|---|---|", *lines])]
    return "\n\n".join(parts) + "\n"


def _figure_state(lab, name):
    if name in NOT_SHIPPED:
        return NOT_SHIPPED[name]
    there = (runner.RESULTS / lab.profile.name / "figures" / f"{name}.png").exists()
    older = ", 23 November 2026, of attacked models that the tables' are made again of" * (name in BEFORE)
    return f"made, `{name}.png`{older}" if there else "to be made"


def _opening(lab, every, scores):
    """The score, in all and a table, and every cell that disagrees, with what is known about why."""
    total = sum((score for _, score in scores), Score())
    each = "\n".join(f"- {_title(table)}: {score}" for table, score in scores
                     if score.of_cells)
    cells = "\n".join(f"- {_title(table)}: {disagreement}; why: {_reason(lab, table, disagreement.row)}"
                      for table, score in scores for disagreement in score.disagreements)
    d, ncc = (sum(_printed(table, value) for table in every) for value in ("verified", "ncc_verified"))
    return [f"# Results, profile {lab.profile.name}", f"**Score against the paper: {total}.** The paper prints {d} "
            f"verdicts by d and {ncc} by NCC; the others have no trial here yet. Most rows have one trial here, the "
            f"paper's 30; an epoch of Table VII is {lab.profile.epoch} steps of as many patches as a mark's, of the "
            f"paper's Train400 {EPOCH} of 128, and networks whose batch norms are folded are tuned at {FOLDED:g} of "
            "its rate.",
            *([f"By table:\n\n{each}"] if each else []),
            "Each table is printed by `python experiments/<name>.py` from the records in `results/`, one line a trial; "
            "this page is written by `python experiments/render.py`.",
            *([f"Cells that disagree:\n\n{cells}"] if cells else []), *(REMARKS if lab.profile.name == MAIN else [])]


def _printed(table, value):
    """How many cells of a verdict the paper has in the rows of a table."""
    lines = (table.paper.line(row) for row in table.grid)
    return sum(line is not None and value in line.values for line in lines)


def _title(table):
    return table.caption.split(". ")[0].rstrip(".")


def _reason(lab, table, row):
    known = REASONS if (lab.profile.name, lab.profile.first_seed) == (MAIN, 0) else ()  # of those records
    return next((words for name, axes, words in known if name == table.name and axes.items() <= row.items()),
                "not known")


def _shown(lab, *names):
    """Links to figures, the work folder's own before those that ship."""
    folders = [folder / "figures" for folder in (runner.results(lab), runner.RESULTS / lab.profile.name)]
    found = [next(filter(Path.exists, (folder / f"{name}.png" for folder in folders)), None) for name in names]
    return [f"![{path.stem}]({Path(os.path.relpath(path, lab.workdir)).as_posix()})" for path in filter(None, found)]


if __name__ == "__main__":
    scripts.run_main(main, takes=["hosts", "trials", "first_seed"])
