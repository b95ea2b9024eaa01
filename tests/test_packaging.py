"""setup.py against what is on disk, without building anything."""

import ast
import pathlib
import re
import tomllib

import ecdctr_tf

ROOT = pathlib.Path(__file__).parent.parent


def setup_arguments():
    """Return the literal arguments of the call of `setup`."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    call = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "setup"
    )
    arguments = {}
    for keyword in call.keywords:
        if keyword.arg != "long_description":
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
    return arguments


def directory(package, package_dir):
    """Return the directory of a package, as setuptools finds it."""
    parts = package.split(".")
    for n in range(len(parts), 0, -1):
        place = package_dir.get(".".join(parts[:n]))
        if place:
            return ROOT.joinpath(place, *parts[n:])
    return ROOT.joinpath(*parts)


def test_packages_are_the_directories_with_modules():
    arguments = setup_arguments()
    listed = {
        directory(package, arguments["package_dir"])
        for package in arguments["packages"]
    }
    there = {
        path.parent
        for top in ("ecdctr_tf", "input", "export")
        for path in (ROOT / top).rglob("*.py")
    }
    assert listed == there
    for package in listed:
        assert (package / "__init__.py").exists(), package


def test_package_data_is_on_disk():
    arguments = setup_arguments()
    for package, patterns in arguments["package_data"].items():
        for pattern in patterns:
            place = directory(package, arguments["package_dir"])
            assert list(place.glob(pattern)), f"{package}: {pattern}"


def test_files_beside_the_modules_are_package_data():
    arguments = setup_arguments()
    for package in arguments["packages"]:
        place = directory(package, arguments["package_dir"])
        patterns = arguments["package_data"].get(package, [])
        packed = {file for pattern in patterns for file in place.glob(pattern)}
        files = {f for f in place.iterdir() if f.is_file()} - packed
        assert [f.name for f in files if f.suffix not in (".py", ".pyc")] == []


def test_commands_name_functions_that_exist():
    arguments = setup_arguments()
    for entry in arguments["entry_points"]["console_scripts"]:
        _, module, function = re.fullmatch(r"(.+?)=(.+):(.+)", entry).groups()
        package, _, name = module.rpartition(".")
        place = (
            directory(package, arguments["package_dir"]) if package else ROOT
        )
        tree = ast.parse((place / f"{name}.py").read_text(encoding="utf-8"))
        functions = {
            n.name for n in tree.body if isinstance(n, ast.FunctionDef)
        }
        assert function in functions, entry


def test_version_is_said_once():
    assert setup_arguments()["version"] == ecdctr_tf.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)[1]
    assert newest == ecdctr_tf.__version__


def names(requirements):
    """Return the normalized names of requirements."""
    found = (re.match(r"[A-Za-z0-9._-]+", line)[0] for line in requirements)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def test_lock_holds_every_requirement_with_hashes():
    arguments = setup_arguments()
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^(\S+==\S+) \\\n +--hash=sha256:", lock, re.MULTILINE)
    assert len(pinned) == lock.count("==")
    wanted = list(arguments["install_requires"])
    for extra in ("server", "test"):
        wanted += arguments["extras_require"][extra]
    # What builds the project, since the install has no build isolation.
    with open(ROOT / "pyproject.toml", "rb") as file:
        wanted += tomllib.load(file)["build-system"]["requires"]
    assert names(wanted) <= names(pinned)
    assert "index-url" not in lock
