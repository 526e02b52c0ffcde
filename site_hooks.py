"""What the documentation's site needs beyond Markdown: formulas and figures.

Formulas become MathML, which needs no script and no network. Figures lie in results/; pages name them by their place in
the repository, so that they show on GitHub too.
"""

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

FIGURES = Path("results") / "quick"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files, config):
    """Puts the figures beside the pages."""
    for path in sorted((FIGURES / "figures").glob("*.png")):
        files.append(File(f"figures/{path.name}", str(FIGURES), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, config, files):
    """Names the figures by where they lie on the site."""
    return markdown.replace(f"../{FIGURES.as_posix()}/figures/", "figures/")


def on_page_content(content, page, config, files):
    """Sets what arithmatex found."""
    kinds = {"div": "block", "span": "inline"}
    return FORMULA.sub(lambda found: convert(html.unescape(found[2]), kinds[found[1]]), content)
