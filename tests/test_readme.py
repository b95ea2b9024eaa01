"""The documents against the project: commands and links that exist."""

import pathlib
import re
import tomllib

import pytest

from ecdctr_tf.input.conversion import toml_spec

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = ("README.md", "BUILD.md", "ARCHITECTURE.md", "CHANGELOG.md")
# Where the modules of `python -m ecdctr_tf.input...` lie.
PLACES = {"ecdctr_tf.input.": "input/", "ecdctr_tf.export.": "export/"}


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name):
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    used = re.findall(r"^(?:\$ )?make ([a-z]+)", text(name), re.MULTILINE)
    used += re.findall(r"`make ([a-z]+)", text(name))
    assert set(used) <= targets


def test_readme_says_how_to_begin():
    assert "\nmake demo" in text("README.md")
    assert "\nmake test" in text("README.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_modules_exist(name):
    for module in set(re.findall(r"python -m (ecdctr_tf[\w.]+)", text(name))):
        path = module
        for package, place in PLACES.items():
            path = path.replace(package, place)
        place = ROOT / path.replace(".", "/")
        files = (place.with_suffix(".py"), place / "__main__.py")
        assert any(file.exists() for file in files), module


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text(name)):
        if "://" not in link:
            assert (ROOT / link).exists(), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_flags_of_train_main_exist(name):
    source = text("train_main.py")
    for command in re.findall(r"train_main\.py((?:.*\\\n)*.*)", text(name)):
        for flag in re.findall(r"--(\w+)", command):
            assert f'"{flag}"' in source, flag


def test_conversion_spec_of_the_readme_is_one():
    toml = re.search(r"```toml\n(.*?)```", text("README.md"), re.DOTALL)[1]
    spec = toml_spec.from_dict(tomllib.loads(toml))
    assert {log.domain for log in spec.logs} == {"natural", "ads"}
    assert spec.data_spec().feature("clicked").max_length == 20
