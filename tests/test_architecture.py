"""Promises about every module: who imports whom, and how large things are."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "watermark"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A module imports only from a lower level, or from its own folder.
LEVELS = {
    "errors": -2, "files": -1, "kinds": -1, "recipes": -1, "optimizers": 0, "metrics": 0, "keys": 0, "training": 0,
    "data": 0, "tasks": 0.5, "hosts": 0.5,
    "models": 0.5, "inference": 1, "ranges": 1, "checkpoints": 1, "preflight": 1.5,
    "embedding": 1.5, "visualizer": 1.5, "verification": 1.5,
    "suspects": 1.5, "attacks": 2, "exporting": 2, "commitments": 2, "judgement": 2, "report": 2.5, "": 2.5, "lab": 3,
    "cli": 3.5, "__main__": 4,
}
WITHIN = {("training", "optimizers")}


def _part(path):
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def _imported(path):
    """Parts of the package, and other top-level packages, that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first != "watermark":
                yield None, first
            else:
                part = rest.split(".")[0]
                yield (part if part in LEVELS else ""), first


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    me = _part(path)
    for part, top in _imported(path):
        if part is not None and part != me:
            assert LEVELS[part] < LEVELS[me] or (me, part) in WITHIN, f"{path} imports watermark.{part}"
        if me == "hosts":
            assert top not in ("tensorflow", "torch", "jax"), f"{path} imports {top}; hosts know Keras only"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sizes(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 62, f"{path}: {node.name} is long"
