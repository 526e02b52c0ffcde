"""Writes RESULTS.md: every table under results/<profile>/ as it stands, and the figures that go with them.

Tables are made by their own scripts; this one makes nothing new. Well under a minute.

    python experiments/render.py
"""

from pathlib import Path

from watermark.files import whole
from watermark.lab import runner

# name: heading, figures drawn from the same models
SECTIONS = {
    "evaluate_hosts": ("The unmarked hosts", ("training",)),
    "table6_pruning": ("Table VI: pruning", ("fig9",)),
    "recipe": ("The recipe against every attack", ("embedding",)),
    "evidence_false_claims": ("False claims, by the threshold and by the evidence", ("evidence",)),
    "evidence_detection": ("Detection after every attack, by the threshold and by the evidence", ("detection",)),
}


def main(lab):
    """Assembles the page from what is there."""
    folder = Path(lab.workdir) / "results" / lab.profile.name
    parts = [f"# Results, profile {lab.profile.name}",
             "Each table is printed by `python experiments/<name>.py` from the records in `results/`, one line a "
             "trial; this page is written by `python experiments/render.py`."]
    for name, (heading, pictures) in SECTIONS.items():
        table = folder / f"{name}.md"
        if not table.exists():
            continue
        parts += [f"## {heading}", f"`experiments/{name}.py`", table.read_text().strip()]
        parts += [f"![{picture}](results/{lab.profile.name}/figures/{picture}.png)" for picture in pictures
                  if (folder / "figures" / f"{picture}.png").exists()]
    path = Path(lab.workdir) / ("RESULTS.md" if lab.profile.name == "quick" else f"RESULTS-{lab.profile.name}.md")
    with whole(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")
    lab.say(str(path))


if __name__ == "__main__":
    runner.run_main(main)
