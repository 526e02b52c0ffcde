"""The examples in the docstrings of the public face run; what they print is by hand."""

import doctest
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest

import watermark

PUBLIC = [name for name in watermark.__all__ if inspect.isfunction(getattr(watermark, name))]
MODULES = ["watermark.kinds", "watermark.recipes", "watermark.metrics", "watermark.verification", "watermark.lab.paper",
           "watermark.lab.tables"]
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
def test_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert found and _failures(found) == (0, "")


def _of(thing):
    """The public functions of a function, class or module: those that it makes itself, or names in `__all__`."""
    if isinstance(thing, property):
        thing = thing.fget
    if inspect.isfunction(thing):
        yield inspect.unwrap(thing)
    elif inspect.isclass(thing):
        for name, member in vars(thing).items():
            if not name.startswith("_") or name == "__call__":
                yield from () if inspect.isclass(member) else _of(getattr(member, "__func__", member))
    elif inspect.ismodule(thing):
        listed = getattr(thing, "__all__", ())
        for name, member in vars(thing).items():
            made = getattr(member, "__module__", None) == thing.__name__ and not name.startswith("_")
            if made or name in listed:
                yield from _of(member)


def _published():
    """{name: function} of `watermark` and of the API's page, which shows types."""
    lines = (Path(__file__).parents[1] / "docs" / "api.md").read_text().splitlines()
    shown = [pkgutil.resolve_name(line.removeprefix("::: ")) for line in lines if line.startswith("::: ")]
    things = [*shown, *(getattr(watermark, name) for name in PUBLIC)]
    return {f"{function.__module__}.{function.__qualname__}": function for thing in things for function in _of(thing)}


@pytest.mark.parametrize("function", [pytest.param(function, id=name) for name, function in _published().items()])
def test_every_public_function_is_typed(function):
    signature = inspect.signature(function)
    untyped = [name for name, parameter in signature.parameters.items() if name not in ("self", "cls")
               and parameter.annotation is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD]
    assert not untyped and signature.return_annotation is not signature.empty and function.__doc__
