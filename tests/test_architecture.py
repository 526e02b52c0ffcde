"""Promises about every module: who imports whom, and how large things are."""

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "watermark"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A module imports only from a lower level, or from its own folder.
LEVELS = {
    "errors": -2, "quiet": -2, "several": -2, "files": -1, "axes": -1, "der": -1, "graphs": -1, "kinds": -1,
    "recipes": -1, "optimizers": 0, "metrics": 0, "keys": 0, "compute": 0, "losses": -0.5, "lookahead": 0, "states": 0,
    "pictures": 0, "limits": 0, "fitting": 0, "data": 0, "training": 0.3, "models": 0.3, "ports": 0.5, "tasks": 0.5,
    "hosts": 0.5, "inference": 1, "readings": 0.5, "blackbox": 1.1, "interrogation": 1.4, "checks": 0,
    "footprint": -0.5, "tracing": 0.7, "evidence": 0, "jaxtraining": 1, "checkpoints": 0.7, "questions": 1.2,
    "ranges": 1, "thieves": 1.2, "forms": 1.2, "preflight": 1.3, "embedding": 1.5, "visualizer": 1.5,
    "verification": 1.5, "suspects": 1.5, "schemes": 1.5, "exporting": 1.7, "attacks": 2, "ours": 2, "baselines": 2,
    "commitments": 2, "judgement": 2.2, "report": 2.5, "": 2.5, "cli": 2.7, "lab": 3, "__main__": 4,
}
UNTYPED = ("cli",)  # folders whose functions are not typed throughout
EXPERIMENTS = sorted((PACKAGE.parent / "experiments").glob("*.py"))
# Keys of rows, and what hosts, schemes, attacks and stages are called.
NAMES = {"host", "scheme", "stage", "test_set", "rate", "data", "epochs", "keys", "size", "lam", "marked", "attack",
         "model", "times", "variant", "picture", "weights", "scale", "strength", "seed", "dncnn", "red", "vdsr",
         "srdncnn", "ours", "deepsigns", "adi", "none", "finetune", "finetuned", "prune", "overwrite", "overwritten",
         "visualizer"}


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
            assert LEVELS[part] < LEVELS[me], f"{path} imports watermark.{part}"
        if me == "hosts":
            assert top not in ("tensorflow", "torch", "jax"), f"{path} imports {top}; hosts know Keras only"


def test_flags_are_known_to_the_command_line_and_to_scripts_only():
    knowing = {str(path.relative_to(PACKAGE)) for path in MODULES if "absl" in {top for _, top in _imported(path)}}
    assert {name for name in knowing if not name.startswith("cli/")} == {
        "several.py", "lab/scripts.py", "jaxtraining/scripts.py"}


@functools.cache
def _passed_on(path):
    """Names that a module has from others."""
    return {alias.asname or alias.name for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_names_are_imported_from_where_they_are_made(path):
    """Or from a folder, whose `__init__` is there to pass them on; else imports are more than what is needed."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            source = PACKAGE.parent / f"{node.module.replace('.', '/')}.py"
            passed_on = _passed_on(source) if source.exists() else set()
            assert not passed_on & {alias.name for alias in node.names}, f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sizes(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 62, f"{path}: {node.name} is long"


def _public(body):
    """The functions of a module that others call, and those of its classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body)
        elif isinstance(node, ast.FunctionDef) and (node.name == "__call__" or not node.name.startswith("_")):
            yield node


@pytest.mark.parametrize("path", [path for path in MODULES if path.relative_to(PACKAGE).parts[0] not in UNTYPED],
                         ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_functions_are_typed_and_described(path):
    """All that docs/api.md shows is here."""
    for node in _public(ast.parse(path.read_text()).body):
        given = [*node.args.posonlyargs, *node.args.args, node.args.vararg, *node.args.kwonlyargs]
        untyped = [a.arg for a in given if a and a.annotation is None and a.arg not in ("self", "cls")]
        assert not untyped and node.returns, f"{path}:{node.lineno}: {node.name}({', '.join(untyped)})"
        assert ast.get_docstring(node) or node.name == "__call__", f"{path}:{node.lineno}: {node.name}"


def _parameters(function):
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return [argument for argument in arguments if argument.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", [*MODULES, *EXPERIMENTS], ids=lambda p: p.stem)
def test_no_function_takes_more_than_seven_parameters(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert len(_parameters(node)) <= 7, f"{path}: {node.name} takes {len(_parameters(node))}"


@pytest.mark.parametrize("path", [*(PACKAGE / "lab").glob("*.py"), *EXPERIMENTS], ids=lambda p: p.stem)
def test_no_stage_scheme_or_row_key_is_compared_with_a_literal(path):
    """What differs between hosts, schemes and attacks is said by their own files."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare):
            continue
        for side in (node.left, *node.comparators):
            literal = side.value if isinstance(side, ast.Constant) else None
            assert literal not in NAMES, f"{path}:{node.lineno} compares with {literal!r}"
