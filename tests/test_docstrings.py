"""Run the examples of all public names, and that of the README."""

import doctest
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import ecdctr_tf

ROOT = pathlib.Path(__file__).parent.parent
# What examples may use without importing it, as the package's docstring says.
GLOBALS = {"ecdctr_tf": ecdctr_tf, "keras": keras, "np": np, "tf": tf}


def examples(name):
    """Return the doctests of a public name that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=False)
    value = getattr(ecdctr_tf, name)
    found = finder.find(value, name, globs={**GLOBALS, name: value})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", ecdctr_tf.__all__)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tests = examples(name)
    assert tests, f"{name} has no example"
    report = []
    for test in tests:
        doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


def test_the_example_of_the_readme_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    names = {}
    exec(code, names)
    row, day = np.array([1, 2]), np.array([19_735, 19_699])
    assert names["model"].predict([row, day], verbose=0).shape == (2, 1)
