"""Each kind of file of a data directory, damaged in each way, is refused.

Whatever reads a data directory goes through the functions that are called here.
"""

import functools
import json
import pathlib
import shutil

import numpy as np
import pytest

from ecdctr_tf import command_line, features, store, windows
from ecdctr_tf.input import damage, data_directory, doctor, streams, tfrecords
from ecdctr_tf.input.conversion import held, state
from tests import conversion_world as world

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
SECOND = f"natural/{DAYS[1]}"
SHARD = "part-00000.tfrecord"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Three days of both domains, two files a day of some records."""
    place = tmp_path_factory.mktemp("damage")
    tables = [("natural", world.table(0)), ("ads", world.table(1))]
    return world.convert(place, tables, rows_per_file=25)


@pytest.fixture
def data_dir(converted, tmp_path):
    return shutil.copytree(converted, tmp_path / "data")


def read(path) -> int:
    """Read everything that is read of a data directory; return its rows."""
    data = data_directory.DataDirectory(path)
    assert set(data.id_spaces) == set(data.tables)
    rows = 0
    for domain in features.DOMAINS:
        window = data.window(domain)
        rows += data.rows(domain, window)
        columns = streams.read_columns(data, domain, window)
        clicks = sum(
            data.manifest(domain, day).metrics["clicks"] for day in window.days
        )
        assert columns["click"].sum() == clicks
        data.table_rows(window.last)
    past = state.load(path, world.spec(), "blocks")
    assert set(past.id_spaces) == set(data.tables)
    base = held.Held.all_of(past)
    for domain in features.DOMAINS:
        for day in data.days(domain):
            base.events(domain, day)
    return rows


def flip(place: float, path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[min(int(len(content) * place), len(content) - 1)] ^= 1
    path.write_bytes(content)


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HARM = {
    "truncated": truncate,
    "a bit flipped at its start": functools.partial(flip, 0),
    "a bit flipped in its middle": functools.partial(flip, 0.5),
    "a bit flipped at its end": functools.partial(flip, 1),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": pathlib.Path.unlink,
}
FILES = (
    "spec.json",
    "ids/user.txt",
    "ids/item.txt",
    f"{SECOND}/manifest.json",
    f"{SECOND}/part-00000.tfrecord",
    f"{SECOND}/part-00001.tfrecord",
    f"{SECOND}/events.arrow",
    f"ads/{DAYS[2]}/manifest.json",
    f"state/{DAYS[2]}/manifest.json",
    f"state/{DAYS[2]}/summary.json",
)


def is_refused(path) -> str:
    """Return the one line that a command ends with."""
    with pytest.raises((FileNotFoundError, ValueError)) as raised:
        read(path)
    line = command_line.one_line(raised.value)
    assert str(path) in line
    assert "codec" not in line
    # Unlike an artefact, a day or state that is deleted is not made again.
    assert "rebuild it" not in line
    return line


def test_what_is_whole_is_read(data_dir):
    assert read(data_dir) == 240
    found = doctor.examine(data_dir)
    assert not found.findings
    assert (found.days, found.files) == (6, 6 * 2 + 12)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_refused(data_dir, file, harm):
    HARM[harm](data_dir / file)
    is_refused(data_dir)


def test_a_flipped_digit_in_each_line_of_a_vocabulary_is_refused(data_dir):
    file = data_dir / "ids/user.txt"
    whole = file.read_bytes()
    for place, byte in enumerate(whole):
        if byte == ord("\n"):
            continue
        file.write_bytes(whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :])
        is_refused(data_dir)


def test_a_vocabulary_of_another_table_is_refused(data_dir):
    shutil.copy(data_dir / "ids/group.txt", data_dir / "ids/user.txt")
    assert "ids/user.txt" in is_refused(data_dir)


def test_a_shard_of_another_day_is_refused(data_dir):
    shutil.copy(data_dir / f"natural/{DAYS[0]}" / SHARD, data_dir / SECOND)
    assert f"{SECOND}/{SHARD}" in is_refused(data_dir)


@pytest.mark.parametrize(
    "source, target",
    [
        (f"natural/{DAYS[0]}", SECOND),
        (f"ads/{DAYS[1]}", SECOND),
        (f"ads/{DAYS[1]}", "natural/2024-01-04"),
    ],
)
def test_a_day_at_another_place_is_refused(data_dir, source, target):
    shutil.rmtree(data_dir / target, ignore_errors=True)
    shutil.copytree(data_dir / source, data_dir / target)
    assert target in is_refused(data_dir)


def test_a_missing_day_is_refused(data_dir):
    shutil.rmtree(data_dir / SECOND)
    assert DAYS[1] in is_refused(data_dir)
    (finding,) = doctor.examine(data_dir).findings
    assert (finding.place, finding.what) == (SECOND, "is missing")


EDITS = {
    "a row more": lambda m: m.update(rows=m["rows"] + 1),
    "a row less": lambda m: m.update(rows=m["rows"] - 1),
    "a click more": lambda m: m["metrics"].update(
        clicks=m["metrics"]["clicks"] + 1
    ),
    "a click less": lambda m: m["metrics"].update(
        clicks=m["metrics"]["clicks"] - 1
    ),
    "a known row more": lambda m: m["ids"]["user"].update(rows=99),
    "a known row less": lambda m: m["ids"]["user"].update(rows=2),
    "another hash": lambda m: m["files"][SHARD].update(sha256="0" * 64),
    "another size": lambda m: m["files"][SHARD].update(bytes=1),
    "a file less": lambda m: m["files"].pop("part-00001.tfrecord"),
    "no config": lambda m: m.update(config={}),
    "rows are text": lambda m: m.update(rows="40"),
    "rows are a fraction": lambda m: m.update(rows=40.5),
    "ids are a list": lambda m: m.update(ids=[]),
    "no ids": lambda m: m.pop("ids"),
    "another window": lambda m: m["window"].update(first=DAYS[0]),
    "a key more": lambda m: m.update(colour="red"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused(data_dir, edit):
    file = data_dir / SECOND / store.MANIFEST
    said = json.loads(file.read_text())
    EDITS[edit](said)
    file.write_text(json.dumps(said))
    assert str(file.parent) in is_refused(data_dir)
    # It is nothing that a repair could take for true.
    doctor.repair(data_dir)
    is_refused(data_dir)


def test_each_byte_of_a_manifest_counts(data_dir):
    file = data_dir / SECOND / store.MANIFEST
    whole = file.read_bytes()
    manifest = store.read_manifest(file.parent, "day")
    for place in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        file.write_bytes(flipped)
        try:
            found = store.read_manifest(file.parent, "day")
        except ValueError:
            continue
        assert found == manifest  # A space more or less.


# What readers do about a damaged file, and repairs.


def by_records(path: pathlib.Path, size: int) -> None:
    """Write the rows of natural day 2 again, in records of some rows.

    The directory is then as one that was not converted: it has no events.
    """
    data = data_directory.DataDirectory(path)
    window = windows.Window(DAYS[1], DAYS[1])
    columns = streams.read_columns(data, "natural", window)
    manifest = data.manifest("natural", DAYS[1])
    ids = {name: entry["rows"] for name, entry in manifest.ids.items()}
    shutil.rmtree(path / SECOND)
    shutil.rmtree(path / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_directory.blocks, "BLOCK_ROWS", size)
        data.write_day("natural", DAYS[1], [columns], ids)


def harmed(path: pathlib.Path, size: int = 10) -> np.ndarray:
    """Flip a bit of the second record of a day; return the clicks before."""
    by_records(path, size)
    file = path / SECOND / SHARD
    window = windows.Window(DAYS[1], DAYS[1])
    clicks = streams.read_columns(
        data_directory.DataDirectory(path), "natural", window
    )["click"]
    content = bytearray(file.read_bytes())
    content[tfrecords.places(file)[1] + 50] ^= 1
    file.write_bytes(content)
    return clicks


@pytest.mark.parametrize("policy", damage.POLICIES)
def test_readers_do_what_they_are_told(data_dir, policy, caplog):
    clicks = harmed(data_dir)
    data = data_directory.DataDirectory(data_dir, policy)
    window = windows.Window(DAYS[1], DAYS[1])
    if policy == "fail":
        with pytest.raises(ValueError, match=f"{SHARD} is damaged"):
            streams.read_columns(data, "natural", window)
        return
    left = np.delete(clicks, range(10, 20)) if policy == "skip_record" else []
    found = streams.read_columns(data, "natural", window)
    np.testing.assert_array_equal(found["click"], left)
    assert data.rows("natural", window) == len(left)
    batches = list(streams.batches(data, "natural", window, 8, seed=1))
    assert sum(len(clicks) for _, clicks in batches) == len(left)
    lost = {
        "rows": len(clicks) - len(left),
        "clicks": int(sum(clicks) - sum(left)),
    }
    assert data.skipped({"natural": window}) == {
        SECOND: {**lost, "files": [SHARD]}
    }
    said = f"{lost['rows']} rows with {lost['clicks']} clicks of natural"
    assert f"{said} {DAYS[1]} are left out (damaged={policy})" in caplog.text
    assert len(caplog.records) == 1
    (line,) = data.losses()
    assert line.startswith(said)


@pytest.mark.parametrize("policy", ["skip_shard", "skip_record"])
def test_another_file_of_whole_records_is_never_read(data_dir, policy):
    shutil.copy(data_dir / f"natural/{DAYS[0]}" / SHARD, data_dir / SECOND)
    before = data_directory.DataDirectory(data_dir)
    data = data_directory.DataDirectory(data_dir, policy)
    window = windows.Window(DAYS[1], DAYS[1])
    left = before.manifest("natural", DAYS[1]).rows - 25
    assert data.rows("natural", window) == left
    times = streams.read_columns(data, "natural", window)["timestamp"]
    day = windows.day_number(DAYS[1])
    assert (times // 86_400 == day).all()


def test_a_repair_keeps_what_is_whole_and_says_what_is_lost(data_dir):
    clicks = harmed(data_dir)
    (finding,) = doctor.examine(data_dir).findings
    assert finding.place == f"{SECOND}/{SHARD}"
    before = {p: p.read_bytes() for p in data_dir.rglob("*") if p.is_file()}
    left = np.delete(clicks, range(10, 20))
    lost = {"rows": 10, "clicks": int(clicks[10:20].sum())}
    assert doctor.repair(data_dir) == {SECOND: lost}
    assert not doctor.examine(data_dir).findings
    data = data_directory.DataDirectory(data_dir)
    window = windows.Window(DAYS[1], DAYS[1])
    found = streams.read_columns(data, "natural", window)
    np.testing.assert_array_equal(found["click"], left)
    manifest = data.manifest("natural", DAYS[1])
    assert manifest.metrics["lost"] == lost
    assert manifest.metrics["clicks"] == left.sum()
    assert data.losses() == [
        f"10 rows with {lost['clicks']} clicks of natural {DAYS[1]} were "
        "damaged and are left out."
    ]
    for path, content in before.items():
        if path.parent != data_dir / SECOND:
            assert path.read_bytes() == content
    # There is nothing to do any more.
    assert doctor.repair(data_dir) == {}


def test_a_second_repair_adds_to_what_is_lost(data_dir):
    harmed(data_dir)
    doctor.repair(data_dir)
    file = data_dir / SECOND / SHARD
    rows = data_directory.DataDirectory(data_dir).rows(
        "natural", windows.Window(DAYS[1], DAYS[1])
    )
    file.unlink()
    assert doctor.repair(data_dir)[SECOND]["rows"] == rows
    data = data_directory.DataDirectory(data_dir)
    manifest = data.manifest("natural", DAYS[1])
    assert manifest.rows == 0
    assert manifest.metrics["lost"]["rows"] == rows + 10


def test_events_that_a_repair_could_not_keep_are_still_missed(data_dir):
    """Later rows depend on them, also where no row of the day is left."""
    for file in (data_dir / SECOND).iterdir():
        if file.name != store.MANIFEST:
            truncate(file)
    doctor.repair(data_dir)
    (finding,) = doctor.examine(data_dir).findings
    assert finding.place == SECOND
    assert "events.arrow when it was repaired" in finding.what
    base = held.Held.all_of(state.load(data_dir, world.spec(), "blocks"))
    with pytest.raises(FileNotFoundError, match="Put the day back"):
        base.events(*SECOND.split("/"))


def test_a_repair_counts_the_rows_of_each_source():
    manifest = store.Manifest("day", config={"sources": ["feed", "search"]})
    rows = {
        "click": np.array([1, 0, 1], np.uint8),
        "weight": np.array([1, 2, 1], np.float32),
        features.SOURCE: np.array([1, 2, 2], np.uint8),
    }
    found = damage.counted(manifest, [rows])
    assert found.rows == 3
    assert found.metrics["sources"] == {
        "feed": {"rows": 1, "clicks": 1, "weight": 1.0},
        "search": {"rows": 2, "clicks": 1, "weight": 3.0},
    }


def test_the_doctor_ends_with_a_status(data_dir, capsys):
    doctor.show(doctor.examine(data_dir), data_dir)
    truncate(data_dir / SECOND / SHARD)
    truncate(data_dir / "ids/item.txt")
    capsys.readouterr()
    doctor.show(doctor.examine(data_dir), data_dir)
    said = capsys.readouterr().out
    assert f"{SECOND}/{SHARD}" in said
    assert "ids" in said
