"""The examples in the docstrings of the public face run; what they print is by hand."""

import doctest
import importlib
import inspect
import sys

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
