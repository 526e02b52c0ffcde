"""The examples in the docstrings of the public face run; what they print is by hand."""

import ast
import doctest
import importlib
import inspect
import sys
from pathlib import Path

import pytest

import watermark

PUBLIC = [name for name in watermark.__all__ if inspect.isfunction(getattr(watermark, name))]
ROOT = Path(watermark.__file__).parent
NODES = (ast.Module, ast.ClassDef, ast.FunctionDef)


def _has_more(path):
    """Whether a module has examples that are no public function's."""
    return any(isinstance(node, NODES) and ">>> " in (ast.get_docstring(node) or "")
               and getattr(node, "name", "") not in PUBLIC for node in ast.walk(ast.parse(path.read_bytes())))


MODULES = sorted(".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
                 for path in ROOT.rglob("*.py") if _has_more(path))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def _failures(examples):
    runner, said = doctest.DocTestRunner(optionflags=FLAGS, verbose=False), []
    for example in examples:
        runner.run(example, out=said.append)
    return runner.summarize(verbose=False).failed, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = getattr(watermark, name)
    names = vars(sys.modules[thing.__module__]) | {"watermark": watermark}
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs=names)
    assert sum(len(test.examples) for test in found) > 0, f"{name} has no example"
    assert _failures(found) == (0, "")


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name, tmp_path, monkeypatch):
    """Of every module that has any, beside those above."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = [test for test in doctest.DocTestFinder().find(module, extraglobs={"watermark": watermark})
             if test.examples and test.name.rpartition(".")[2] not in PUBLIC]
    assert found and _failures(found) == (0, "")
