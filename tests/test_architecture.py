"""Import direction: which part may know of which. ARCHITECTURE.md says why."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Part -> the parts, or modules of parts, that it may import beside itself.
MAY_IMPORT = {
    "windows": (),
    "typed_values": (),
    "command_line": ("termination",),
    "termination": (),
    "deferred": (),
    "features": ("typed_values",),
    "model_table": (),
    "config": ("model_table", "typed_values"),
    "presets": ("config", "model_table"),
    "store": ("typed_values", "windows"),
    "layers": ("kernels",),
    "kernels": (),
    "optimizers": ("kernels",),
    "metrics": (),
    "kinds": ("layers", "config", "deferred", "features"),
    "models": ("kinds", "layers", "config", "features"),
    # Of the layers only the table that historical embeddings are held in.
    "transfer": ("config", "store", "typed_values", "windows")
    + ("layers.historical_embedding",),
    # What training reads through; `WRITING` is the other half.
    "input": ("deferred", "features", "kinds", "store", "typed_values")
    + ("windows",),
    # The check of logs is a page with the kit of all pages. Of models only
    # which domains they read: which artefacts saw a day that was replaced?
    "input.conversion": ("command_line", "features", "kinds", "model_table")
    + ("store", "typed_values", "windows", "input")
    + ("results.page", "results.plots", "results.text"),
    # What training and export both rebuild models with.
    "artefacts": ("config", "features", "kinds", "model_table", "store")
    + ("input", "layers", "models", "transfer", "typed_values"),
    # What training and the gate before an export both score rows with.
    "scoring": ("features", "input", "models", "windows"),
    "export": ("artefacts", "config", "features", "kinds", "store")
    + ("command_line", "input", "layers", "metrics", "models", "scoring")
    + ("transfer", "typed_values")
    # The model card is a page with the kit of all pages.
    + ("model_table", "results.page", "results.plots", "results.slices")
    + ("results.text", "windows"),
    "training": ("artefacts", "config", "features", "kinds", "model_table")
    + ("input", "layers", "metrics", "models", "optimizers", "scoring")
    # What days hold, counted while they are scored.
    + ("monitoring.bins", "monitoring.drift")
    + ("store", "termination", "transfer", "windows"),
    # Which process this one is, and what it does of the steps of windows.
    "distributed": ("artefacts", "config", "features", "model_table")
    + ("command_line", "input", "layers", "models", "store", "training")
    + ("transfer", "windows"),
    "comparison": ("artefacts", "config", "model_table", "store", "windows")
    + ("input", "results.models", "training"),
    "results": ("artefacts", "config", "model_table", "store", "windows")
    + ("features", "input", "metrics", "training")
    + ("transfer", "typed_values"),
    # The kit of pages, and the measures of scored days, are those of results.
    "diagnostics": ("config", "features", "kinds", "store", "windows")
    + ("input", "metrics", "results", "training.workdir", "transfer"),
    # What a command asks for: levels and places follow from it.
    "request": ("artefacts", "config", "model_table", "windows")
    + ("distributed.roles", "export", "input", "training"),
    # What goes on around the levels; the clock carries out what stages do.
    "operation": ("artefacts", "command_line", "config", "features")
    + ("model_table", "store", "typed_values", "windows")
    + ("export", "input", "request", "termination", "training")
    + ("transfer",)
    # Its plan is a table, its dates are sections of the report.
    + ("results.page", "results.plots", "results.text"),
    "monitoring": ("artefacts", "config", "export", "features", "kinds")
    + ("metrics", "operation.family", "operation.record", "store")
    + ("transfer", "windows"),
    # Users go from all that was made of their rows.
    "erasure": ("artefacts", "config", "distributed.jobs", "features")
    + ("export", "input", "metrics", "results.page", "results.text")
    + ("scoring", "store", "transfer", "typed_values", "windows")
    + ("input.conversion",),
    # The stages tie the parts together for the command line.
    "stages": ("artefacts", "config", "model_table", "store", "windows")
    + ("comparison", "diagnostics", "distributed", "erasure", "export")
    + ("input",)
    + ("monitoring", "operation", "request", "results", "training"),
}


# What makes data directories; nothing but itself may import it, and what
# erases users from them.
WRITING = ("input.conversion", "input.convert", "input.datasets")
WRITING += ("input.beam", "input.inference", "input.checking")
WRITING += ("input.doctor",)


def part_of(path):
    """Return the part of a file: `input/blocks.py` -> `input`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if ".".join(parts[:2]) in WRITING:
        return WRITING[0]
    return parts[1] if parts[0] == "ecdctr_tf" else parts[0]


def imports(source):
    """Yield what a source imports, `a.b.c` for `from a.b import c`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(source, part):
    """Return the imports of a source that its part may not have."""
    allowed = ("__version__", part, *MAY_IMPORT[part])
    found = []
    for name in imports(source):
        top, _, inside = name.partition(".")
        if top == "ecdctr_tf":
            known = _is_of(inside, allowed) and (
                part in (WRITING[0], "erasure") or not _is_of(inside, WRITING)
            )
        else:
            known = top not in ("", "train_main", "input", "export", "tests")
        if not known:
            found.append(name)
    return found


def _is_of(name, places):
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def sources():
    paths = [
        p
        for d in ("ecdctr_tf", "input", "export")
        for p in (ROOT / d).rglob("*.py")
    ]
    return sorted(p for p in paths if p != ROOT / "ecdctr_tf/__init__.py")


@pytest.mark.parametrize(
    "path", sources(), ids=lambda p: str(p.relative_to(ROOT))
)
def test_module_imports_what_its_room_may(path):
    part = part_of(path)
    assert part in MAY_IMPORT, f"{part} needs a row in MAY_IMPORT"
    assert violations(path.read_text(), part) == []


@pytest.mark.parametrize("part", ["layers", "optimizers", "metrics", "models"])
def test_parts_that_compute_read_no_files(part):
    unwanted = {"pathlib", "os", "shutil", "json", "pyarrow"}
    for path in (ROOT / "ecdctr_tf" / part).rglob("*.py"):
        tops = {name.partition(".")[0] for name in imports(path.read_text())}
        assert not tops & unwanted, path


FILES = ("CONFIG", "SPEC", "CURVE", "SCORES", "HELD_OUT", "INPUTS")
FILES += ("RESTORE", "MIXTURE")


def test_files_of_artefacts_are_read_where_they_are_verified():
    """Places of files are named where they are written, and nowhere else."""
    for path in sources():
        if part_of(path) == "artefacts":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.BinOp):
                continue
            text = ast.unparse(node)
            place, _, name = text.rpartition(" / artefacts.")
            # A work directory has a config, too.
            if name in FILES and text != "run_dir.path / artefacts.CONFIG":
                assert place == "staging", f"{text} in {path}"


def test_every_room_of_the_table_exists():
    parts = {part_of(path) for path in sources()}
    assert set(MAY_IMPORT) <= parts


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("layers", "from ecdctr_tf import config"),
        ("layers", "from ecdctr_tf.models import ctr_model"),
        ("metrics", "import ecdctr_tf.windows"),
        ("config", "from ecdctr_tf import artefacts"),
        ("artefacts", "from ecdctr_tf.training import level"),
        ("models", "from ecdctr_tf.input import streams"),
        ("input", "from ecdctr_tf.models.ctr_model import CTRModel"),
        ("export", "def late():\n    from ecdctr_tf.training import fit"),
        ("transfer", "from ecdctr_tf.layers import mlp"),
        ("training", "import train_main"),
        ("training", "from . import fit"),
        ("input", "from input import blocks"),
        ("input", "from ecdctr_tf.input.conversion import events"),
        ("input", "import ecdctr_tf.input.datasets.globo"),
        ("training", "from ecdctr_tf.input import convert"),
        ("input.conversion", "from ecdctr_tf.training import fit"),
    ],
)
def test_violations_are_found(part, line):
    assert len(violations(line, part)) == 1
    assert (
        violations(f"from ecdctr_tf.{part} import x\nimport json", part) == []
    )
