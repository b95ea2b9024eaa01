"""A world of eight days, and commands run on it that remember what they gave.

Natural logs of days 1 to 8 of January 2024, ads of days 3 to 8. New users come
up on every day, many on day 6, so that tables outgrow their room. Everything is
tiny: a command takes some tenths of a second, and since a state of the work
directory is kept in memory, a command from a known state costs nothing.
"""

import contextlib
import dataclasses
import functools
import gc
import hashlib
import io
import json
import os
import pathlib
import shutil
import time
import typing
from unittest import mock

import numpy as np
import tf_keras as keras

from ecdctr_tf import config as configs
from ecdctr_tf import features, stages, windows
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.transfer import checkpoint

MODEL = "e_cdctr"
LAST = 8
FIRST_ADS = 3
NATURAL_ROWS, ADS_ROWS = 8, 12
# Rows of both tables in use at the end of days 0 to 8, unknown ids included.
USERS = (4, 6, 8, 10, 12, 14, 24, 26, 28)
ITEMS = (5, 6, 7, 8, 9, 10, 11, 12, 13)
BUCKETS = {"user": 1, "item": 2}
# Item and price of the first rows of a day of ads, which differ in the user
# only: two first seen the day before, two of the day itself, two old ones.
PROBES, PROBE_ITEM, PROBE_PRICE = 6, 3, 1.5
SPEC = features.DataSpec(
    tables=tuple(features.TableSpec(n, buckets=b) for n, b in BUCKETS.items()),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user", basic=True),
        features.FeatureSpec("item_id", "id", "item", "item", basic=True),
        features.FeatureSpec("price", "dense"),
    ),
)
_NETWORK = configs.ModelConfig(
    heads=1,
    embedding_dim=2,
    hidden_units=(),
    cross_layers=0,
    attention=False,
    products=False,
)
_STEPS = configs.TrainingConfig(batch_size=8, checkpoint_steps=1)
CONFIG = configs.Config(
    model=_NETWORK,
    tpm_model=dataclasses.replace(_NETWORK, history=False),
    tpm=_STEPS,
    cpm=_STEPS,
    ctr=_STEPS,
    history=configs.HistoryConfig(snapshots=2),
    schedule=configs.ScheduleConfig(ctr_first="2024-01-04"),
)
# Days by which CPMs are late at the pace "late".
LAG = 2
# Name of a pace -> how often each level is trained.
PACES = {
    "calm": ("tpm_days=2", "cpm_days=2", "cpm_every=2"),
    "quick": ("tpm_days=1", "cpm_days=1", "cpm_every=1"),
    "late": ("tpm_days=2", "cpm_days=1", "cpm_every=2", f"cpm_lag={LAG}"),
    "pairs": ("tpm_days=3", "cpm_days=2", "cpm_every=3", "ctr_days=2"),
}


def day(number: int) -> str:
    """Return the name of a day of the world."""
    return f"2024-01-{number:02d}"


def window(first: int, last: int) -> windows.Window:
    """Return a window of days of the world."""
    return windows.Window(day(first), day(last))


def number(name: str) -> int:
    """Return the number of a day of the world."""
    return int(name[-2:])


def known(table: str, until: int, cut: int = 0) -> int:
    """Return the rows of a table in use at the end of a day.

    Args:
      table: its name.
      until: the day.
      cut: from this day on the logs are others, with five users more.
    """
    if table == "item":
        return ITEMS[until]
    return USERS[until] + 5 * bool(cut and until >= cut)


@functools.cache
def rows(domain: str, number: int, cut: int = 0) -> dict[str, np.ndarray]:
    """Return the columns of a day of logs.

    Args:
      domain: "natural" or "ads".
      number: the day.
      cut: other logs from this day on. Ads of the day itself keep the
        features of their first rows (`PROBES`), which are scored alike; their
        clicks and the other prices are others.
    """
    natural = domain == "natural"
    other = bool(cut) and (number > cut or (natural and number == cut))
    count = NATURAL_ROWS if natural else ADS_ROWS
    rng = np.random.default_rng([number, natural, other])
    users = known("user", number, cut if other else 0)
    columns = {
        "user_id": rng.integers(0, users, count).astype(np.int32),
        "item_id": rng.integers(0, ITEMS[number], count).astype(np.int32),
        # Between 0 and 1 in natural logs, between 1 and 2 in ads.
        "price": rng.random(count).astype(np.float32) + (not natural),
        "click": (rng.random(count) < 0.4).astype(np.float32),
        "timestamp": windows.day_number(day(number)) * 86_400
        + np.arange(count),
    }
    new = known("user", number) - 1
    if natural:
        columns["user_id"][:2] = new, new - 1
    else:
        before = known("user", number - 1) - 1
        columns["user_id"][:PROBES] = before - 1, before, new - 1, new, 1, 2
        columns["item_id"][:PROBES] = PROBE_ITEM
        columns["item_id"][PROBES] = ITEMS[number] - 1
        columns["price"][:PROBES] = PROBE_PRICE
    columns["click"][-2:] = 0, 1
    if cut and number == cut:
        columns["click"] = 1 - columns["click"]
        columns["price"][PROBES:] += 1
    return columns


def write_data(path: pathlib.Path, until: int, cut: int = 0) -> pathlib.Path:
    """Write the data directory of the logs up to a day; others from `cut`."""
    path.mkdir(parents=True)
    SPEC.save(path / data_directory.SPEC)
    for table in SPEC.tables:
        space = id_space.new(table)
        ids = known(table.name, until, cut) - BUCKETS[table.name]
        space.append(np.arange(100, 100 + ids))
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    for domain, first in (("natural", 1), ("ads", FIRST_ADS)):
        for n in range(first, until + 1):
            used = {name: known(name, n, cut) for name in BUCKETS}
            data.write_day(domain, day(n), [rows(domain, n, cut)], used)
    return path


class Command(typing.NamedTuple):
    """A command of a user."""

    stage: str
    # First and last day, or None for what the schedule plans.
    days: tuple[int, int] | None = None
    # The last day of the logs that are there.
    until: int = LAST
    pace: str = "calm"
    # `--set` of this command alone.
    settings: tuple[str, ...] = ()
    # From this day on the logs are others, see `rows`; 0: never.
    cut: int = 0


@dataclasses.dataclass(frozen=True, repr=False)
class Tree:
    """The files of a work directory: path -> hash of its bytes."""

    files: dict[str, str]

    def __repr__(self) -> str:
        """Return the names of the artefacts."""
        return f"Tree({', '.join(sorted(self.names()))})"

    @functools.cached_property
    def key(self) -> str:
        """Hash of all files."""
        text = json.dumps(sorted(self.files.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def artefacts(self) -> "Tree":
        """Return what is published, without what writers keep beside it."""
        return Tree(
            {f: h for f, h in self.files.items() if place_of(f) is not None}
        )

    def names(self) -> set[str]:
        """Return the places of the artefacts."""
        return {place for f in self.files if (place := place_of(f))}

    def of(self, place: str) -> dict[str, str]:
        """Return the files of an artefact by their names within it."""
        start = place + "/"
        return {
            file[len(start) :]: content
            for file, content in self.files.items()
            if file.startswith(start)
        }

    def without(self, *places: str) -> "Tree":
        """Return the tree without some artefacts."""
        starts = tuple(place + "/" for place in places)
        kept = (f for f in self.files if not f.startswith(starts or ("\0",)))
        return Tree({file: self.files[file] for file in kept})

    def joined(self, other: "Tree") -> "Tree":
        """Return the tree with the files of another one."""
        return Tree({**self.files, **other.files})

    def leftovers(self, stage: str) -> list[str]:
        """Return what a killed writer left in the directories of a stage."""
        directory = {"aggregate": "historical"}.get(stage, stage)
        return [
            file
            for file in self.files
            if ".staging-" in file and directory in file.split("/")[:2]
        ]


def place_of(file: str) -> str | None:
    """Return the artefact that a file of a work directory belongs to."""
    parts = file.split("/")
    if parts[0] in ("tpm", "historical"):
        depth = 2
    elif len(parts) > 2 and parts[1] in ("cpm", "ctr"):
        depth = 3
    else:
        return None
    if len(parts) <= depth or parts[depth - 1].startswith("."):
        return None
    return "/".join(parts[:depth])


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command did."""

    tree: Tree
    # What it ended with; empty if it ended well.
    error: str
    # The work directory before every write, as a kill would leave it.
    shots: tuple[Tree, ...]


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A published artefact, read."""

    place: str
    manifest: dict
    # Checkpoint -> name -> array.
    arrays: dict[str, dict[str, np.ndarray]]
    scores: dict[str, np.ndarray]

    @property
    def first(self) -> int:
        """Its first day."""
        return number(self.manifest["window"]["first"])

    @property
    def last(self) -> int:
        """Its last day."""
        return number(self.manifest["window"]["last"])

    def known(self, table: str) -> int:
        """Return the rows of a table that it knows."""
        return self.manifest["ids"][table]["rows"]

    def table(self, name: str) -> np.ndarray:
        """Return the embeddings of a table, `[V, D]`."""
        return self.arrays["weights"][f"embedding/tables/{name}/embeddings"]


class World:
    """Runs commands, each once from a state.

    Args:
      place: an empty directory.
    """

    def __init__(self, place: pathlib.Path):
        self._place = place
        self._contents: dict[str, bytes] = {}
        self._outcomes: dict[tuple[str, Command], Outcome] = {}
        self._artefacts: dict[str, Artefact] = {}
        # What was found to be right.
        self.checked: set[tuple] = set()
        # How many commands were carried out, and how many remembered.
        self.carried_out, self.remembered = 0, 0

    def data(self, until: int, cut: int = 0) -> pathlib.Path:
        """Return the data directory up to a day."""
        cut = cut if cut <= until else 0
        path = self._place / f"data-{until}-{cut}"
        return path if path.exists() else write_data(path, until, cut)

    def content(self, tree: Tree, file: str) -> bytes:
        """Return the bytes of a file."""
        return self._contents[tree.files[file]]

    def run(self, tree: Tree, command: Command) -> Outcome:
        """Return what a command does in a work directory."""
        if command.cut > command.until:
            command = command._replace(cut=0)
        key = tree.key, command
        if key in self._outcomes:
            self.remembered += 1
        else:
            self._outcomes[key] = self._run(tree, command)
        return self._outcomes[key]

    def _run(self, tree: Tree, command: Command) -> Outcome:
        self.carried_out += 1
        path = self._place / f"run-{self.carried_out}"
        self.write(tree, path)
        camera = _Camera(path, self._contents)
        error = ""
        with camera.watching(), _quiet():
            try:
                stages.run(self.request(path, command))
            except (ValueError, FileNotFoundError, FileExistsError) as raised:
                error = f"{type(raised).__name__}: {raised}"
        after = camera.tree()
        shutil.rmtree(path)
        return Outcome(after, error, tuple(camera.shots))

    def request(self, path: pathlib.Path, command: Command) -> stages.Request:
        """Return the request that a command makes."""
        pace = [f"schedule.{setting}" for setting in PACES[command.pace]]
        return stages.Request(
            stage=command.stage,
            data_dir=self.data(command.until, command.cut),
            workdir=path,
            config=configs.override(CONFIG, [*pace, *command.settings]),
            models=(MODEL,),
            window=command.days and window(*command.days),
        )

    def write(self, tree: Tree, path: pathlib.Path) -> None:
        """Write a work directory."""
        path.mkdir()
        for file, content in tree.files.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            if not file.endswith("/"):
                (path / file).write_bytes(self._contents[content])

    def read(self, tree: Tree, place: str) -> Artefact:
        """Return an artefact, read once."""
        files = Tree(tree.of(place))
        key = f"{place} {files.key}"
        if key not in self._artefacts:
            path = self._place / "reading"
            self.write(files, path)
            self._artefacts[key] = _read(place, path)
            shutil.rmtree(path)
        return self._artefacts[key]

    @functools.cached_property
    def initial(self) -> dict[str, np.ndarray]:
        """Return the embeddings that rows of each table begin with.

        They are read from a model trained on nothing but unknown ids.
        """
        until = LAST
        path = self._place / "unknown"
        shutil.copytree(self.data(until), path)
        last = path / "ads" / day(until)
        shutil.rmtree(last)
        columns = dict(rows("ads", until))
        for name in ("user_id", "item_id"):
            columns[name] = np.zeros_like(columns[name])
        used = {name: known(name, until) for name in BUCKETS}
        data_directory.DataDirectory(path).write_day(
            "ads", day(until), [columns], used
        )
        run = self._place / "unknown-run"
        settings = ("history.start_tables=false",)
        command = Command("ctr", (until, until), settings=settings)
        request = dataclasses.replace(
            self.request(run, command), data_dir=path, models=("ads_only",)
        )
        with _quiet():
            stages.run(request)
        place = f"ads_only/ctr/{day(until)}"
        artefact = _read(place, run / place)
        return {name: artefact.table(name) for name in BUCKETS}


class _Camera:
    """Keeps a directory's files before every write, as a kill leaves them."""

    def __init__(self, path: pathlib.Path, contents: dict[str, bytes]):
        self._path = path
        self._contents = contents
        self._seen: dict[tuple, str] = {}
        self.shots: list[Tree] = []

    @contextlib.contextmanager
    def watching(self):
        """Take a picture before every call that changes directories."""
        with contextlib.ExitStack() as stack:
            for module, name in (
                (os, "rename"),
                (os, "replace"),
                (os, "mkdir"),
                (shutil, "rmtree"),
            ):
                watched = self._watched(getattr(module, name))
                stack.enter_context(mock.patch.object(module, name, watched))
            yield

    def _watched(self, function):
        def watched(path, *args, **kwargs):
            if str(path).startswith(str(self._path)):
                tree = self.tree()
                if not self.shots or tree.files != self.shots[-1].files:
                    self.shots.append(tree)
            return function(path, *args, **kwargs)

        return watched

    def tree(self) -> Tree:
        """Return the files that are there now."""
        files = {}
        for directory, _, names in os.walk(self._path):
            inside = os.path.relpath(directory, self._path)
            if inside.split("/")[0] == "tensorboard":
                continue
            for name in names:
                file = os.path.join(directory, name)
                files[os.path.normpath(f"{inside}/{name}")] = self._hash(file)
        return Tree(files)

    def _hash(self, file: str) -> str:
        status = os.stat(file)
        key = status.st_ino, status.st_mtime_ns, status.st_size
        if key not in self._seen:
            with open(file, "rb") as opened:
                content = opened.read()
            self._seen[key] = hashlib.sha256(content).hexdigest()
            self._contents.setdefault(self._seen[key], content)
        return self._seen[key]


@contextlib.contextmanager
def _quiet():
    """Run without output, byte for byte alike.

    For that the clock stands, whose seconds are in manifests, and Keras does
    not count its layers, whose names are in checkpoints.
    """
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        # Frees traced models: here are none.
        mock.patch.object(gc, "collect", lambda: 0),
        mock.patch.object(time, "monotonic", lambda: 0.0),
        mock.patch.object(
            keras.src.backend, "unique_object_name", lambda name, **_: name
        ),
        mock.patch.dict(os.environ, ECDCTR_TF_COMPILED="off"),
    ):
        yield


def _read(place: str, path: pathlib.Path) -> Artefact:
    """Read an artefact, whatever it is."""
    manifest = path / "manifest.json"
    scores = {}
    if (path / "scores.npz").exists():
        with np.load(path / "scores.npz") as file:
            scores = {name: file[name] for name in file.files}
    return Artefact(
        place,
        json.loads(manifest.read_text()) if manifest.exists() else {},
        {
            index.stem: checkpoint.read(index.with_suffix(""))
            for index in path.glob("*.index")
        },
        scores,
    )
