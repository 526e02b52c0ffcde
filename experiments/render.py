"""Writes RESULTS.md: every table under results/<profile>/ as it stands, and the figures that go with them.

Tables are made by their own scripts; this one makes nothing new. Well under a minute.

    python experiments/render.py
"""

from watermark.lab import runner, scripts
from watermark.files import whole

# name: heading, figures drawn from the same models
SECTIONS = {
    "evaluate_hosts": ("The unmarked hosts", ("training",)),
    "table6_pruning": ("Table VI: pruning", ("figS1",)),
    "recipe": ("The recipe against every attack", ("embedding",)),
    "visualizer": ("Whom the visualizer shows its image to", ("fig8", "fig9")),
    "evidence_false_claims": ("False claims, by the threshold and by the evidence", ("evidence",)),
    "evidence_detection": ("Detection after every attack, by the threshold and by the evidence", ("detection",)),
}
NAMES = {"quick": ""}  # of the page
# name: what is to be seen, and by which script
FIGURES = {
    "fig3": ("Triggers, their gradients, S₀ and S (Fig. 3)", "fig3_triggers"),
    "figS2": ("After fine-tuning, every host (supplementary Fig. 2)", "figS2_finetuning"),
    "figS3": ("After further keys, every host (supplementary Fig. 3)", "figS3_overwriting"),
}


def main(lab, options):
    """Assembles the page from what is there."""
    folder = runner.results(lab)
    parts = [f"# Results, profile {lab.profile.name}",
             "Each table is printed by `python experiments/<name>.py` from the records in `results/`, one line a "
             "trial; this page is written by `python experiments/render.py`."]
    for name, (heading, pictures) in SECTIONS.items():
        table = folder / f"{name}.md"
        if not table.exists():
            continue
        parts += [f"## {heading}", f"`experiments/{name}.py`", table.read_text().strip()]
        parts += _shown(folder, *pictures)
    for name, (heading, script) in FIGURES.items():
        if shown := _shown(folder, name):
            parts += [f"## {heading}", f"`experiments/{script}.py`", *shown]
    path = lab.workdir / f"RESULTS{NAMES.get(lab.profile.name, f'-{lab.profile.name}')}.md"
    with whole(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")
    lab.log(str(path))


def _shown(folder, *names):
    paths = [folder / "figures" / f"{name}.png" for name in names]
    return [f"![{path.stem}](results/{folder.name}/figures/{path.name})" for path in paths if path.exists()]


if __name__ == "__main__":
    scripts.run_main(main)
