"""Starts the command `watermark`, unless another package of that name stands in its way.

`watermark` is also a notebook extension on the package index. In one environment the one that is installed later
overwrites the other's `watermark/__init__.py`, or hides an editable install. This module has a name that nobody else
has, so that it is there to say so.
"""

import importlib
import sys
from importlib import metadata

OTHER = "watermark"  # the notebook extension's distribution; ours is watermark-image-dnn
REMEDY = "give this project an environment of its own: python3 -m venv .venv; . .venv/bin/activate; pip install -e ."


def hidden() -> str:
    """Where the module `watermark` lies if it is not this project's, else ""."""
    try:
        found = importlib.import_module("watermark")
    except ImportError as error:  # the extension without its notebook
        return str(error.path or "another folder")
    return "" if "make_key" in getattr(found, "__all__", ()) else str(found.__file__ or list(found.__path__))


def clash() -> str:
    """One line that says what is wrong if the notebook extension hides this project or is mixed with it, else ""."""
    if place := hidden():
        return f"error: `import watermark` finds another package of that name, {place}; {REMEDY}"
    try:
        version = metadata.version(OTHER)
    except metadata.PackageNotFoundError:
        return ""
    return (f"note: the notebook extension `watermark` {version} is installed here too, and its files may lie among "
            f"this project's; {REMEDY}")


def main() -> int:
    """The command line, after one line on a clash of names; exit code 2 where this project's package is hidden."""
    if line := clash():
        print(line, file=sys.stderr)
    if line.startswith("error"):
        return 2
    from watermark.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
