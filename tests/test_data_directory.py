import json
import os
import re
import shutil

import numpy as np
import pytest

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import blocks, data_directory, streams
from ecdctr_tf.store import artefacts
from tests import conftest

WINDOW = windows.Window("2024-01-01", "2024-01-03")


DAY = windows.Window("2024-01-04", "2024-01-04")


def reopened(data):
    """Return the same directory as another process sees it."""
    return data_directory.DataDirectory(data.path)


def edited(data, day, change):
    """Return the directory after a change of the manifest of a natural day.

    It has no hash of itself, as those that older versions wrote.
    """
    file = data.path / "natural" / day / "manifest.json"
    fields = json.loads(file.read_text())
    del fields["sha256"]
    change(fields)
    file.write_text(json.dumps(fields))
    return reopened(data)


def part(data, number=0):
    """Return a file of the second natural day."""
    return data.path / "natural/2024-01-02" / f"part-{number:05d}.tfrecord"


def test_days_windows_and_rows(tiny_data):
    assert tiny_data.days("natural") == WINDOW.days
    assert tiny_data.window("ads") == windows.Window("2024-01-02", "2024-01-04")
    assert tiny_data.rows("natural", WINDOW) == 60
    assert (
        tiny_data.rows("ads", windows.Window("2024-01-04", "2024-01-04")) == 10
    )


def test_manifest_counts_rows_and_clicks(tiny_data):
    manifest = tiny_data.manifest("natural", "2024-01-01")
    assert manifest.rows == 20
    # Multiples of 3 below 20: 0, 3, ... 18.
    assert manifest.metrics == {"clicks": 7}
    assert manifest.config == {
        "format": "blocks",
        "domain": "natural",
        "shards": 2,
    }
    assert manifest.window == windows.Window("2024-01-01", "2024-01-01")
    assert sorted(manifest.files) == [
        "part-00000.tfrecord",
        "part-00001.tfrecord",
    ]


def test_opening_no_data_directory_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="ecdctr_tf.input.convert"):
        data_directory.DataDirectory(tmp_path)


def test_window_of_a_domain_without_days_raises(tiny_data):
    with pytest.raises(FileNotFoundError, match="holds no days"):
        tiny_data.window("search")


def test_missing_day_raises(tiny_data):
    window = windows.Window("2023-12-31", "2024-01-04")
    message = "lacks 2023-12-31, 2024-01-04.*it has 2024-01-01..2024-01-03"
    for reader in (tiny_data.covered, tiny_data.rows):
        with pytest.raises(ValueError, match=message):
            reader("natural", window)
    with pytest.raises(ValueError, match=message):
        streams.batches(tiny_data, "natural", window, 8)


def test_missing_file_of_a_day_raises(tiny_data):
    part(tiny_data).unlink()
    with pytest.raises(
        FileNotFoundError, match="part-00000.tfrecord is listed"
    ):
        streams.batches(reopened(tiny_data), "natural", WINDOW, 8)


def test_file_that_no_manifest_lists_is_not_read(tiny_data):
    stranger = part(tiny_data, 7)
    stranger.write_bytes(part(tiny_data).read_bytes())
    columns = streams.read_columns(reopened(tiny_data), "natural", WINDOW)
    np.testing.assert_array_equal(columns["price"], range(60))


@pytest.mark.parametrize("lost", [1, 5, 200])
def test_truncated_file_raises(tiny_data, lost):
    os.truncate(part(tiny_data), part(tiny_data).stat().st_size - lost)
    with pytest.raises(ValueError, match="part-00000.tfrecord has.*truncated"):
        streams.batches(reopened(tiny_data), "natural", WINDOW, 8)


def test_flipped_bit_raises(tiny_data):
    content = bytearray(part(tiny_data, 1).read_bytes())
    content[len(content) // 2] ^= 4
    part(tiny_data, 1).write_bytes(content)
    with pytest.raises(ValueError, match="part-00001.tfrecord is damaged"):
        streams.batches(reopened(tiny_data), "natural", WINDOW, 8)
    # Counting reads manifests only.
    assert reopened(tiny_data).rows("natural", WINDOW) == 60


def test_day_of_another_spec_raises(tiny_data):
    tiny_data.spec.without(["price"]).save(tiny_data.path / "spec.json")
    data = reopened(tiny_data)
    with pytest.raises(
        ValueError, match="with another data spec.*put the file back"
    ):
        data.manifest("natural", "2024-01-01")


@pytest.mark.parametrize(
    "source, target",
    [
        ("natural/2024-01-03", "natural/2024-01-04"),
        ("natural/2024-01-03", "ads/2024-01-05"),
        ("ads/2024-01-02", "natural/2024-01-04"),
        ("ads/2024-01-02", "ads/2024-01-05"),
        ("natural/2024-01-01", "ads/2024-01-01"),
    ],
)
def test_day_copied_to_another_place_raises(tiny_data, source, target):
    shutil.copytree(tiny_data.path / source, tiny_data.path / target)
    data = reopened(tiny_data)
    domain, day = target.split("/")
    message = f"{target} is the artefact of {source[-10:]}, under another"
    if source.endswith(day):
        message = f"should hold the {domain} rows of {day}. .*{source[:7]}"
    window = windows.Window(day, day)
    for read in (data.manifest, data.files):
        with pytest.raises(ValueError, match=message):
            read(domain, day)
    with pytest.raises(ValueError, match=message):
        data.rows(domain, window)
    with pytest.raises(ValueError, match=message):
        streams.batches(data, domain, window, 8)
    with pytest.raises(ValueError, match=message):
        data.table_rows(day)


def test_days_that_were_exchanged_raise(tiny_data):
    days = tiny_data.path / "natural"
    (days / "2024-01-01").rename(days / ".other")
    (days / "2024-01-02").rename(days / "2024-01-01")
    (days / ".other").rename(days / "2024-01-02")
    with pytest.raises(
        ValueError, match="2024-01-01 is the artefact of 2024-01-02"
    ):
        reopened(tiny_data).rows("natural", WINDOW)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: m["config"].update(format="zzz"), "one of blocks, examples"),
        (lambda m: m["config"].update(format=[1]), "one of blocks, examples"),
        (lambda m: m["config"].pop("format"), "one of blocks, examples"),
        (lambda m: m["config"].pop("domain"), "should hold the natural rows"),
        (lambda m: m["config"].update(domain=7), "should hold the natural"),
        (lambda m: m["config"].update(shards=3), "2 of the day's 3 files"),
        (lambda m: m["config"].update(shards=None), "2 of the day's None"),
        (lambda m: m.update(window=None), "window. should be the days"),
        (
            lambda m: m["window"].update(last="2024-01-03"),
            "is the artefact of 2024-01-03",
        ),
        (
            lambda m: m["ids"].update(shop={"rows": 3}),
            "one of user, item, category. Received: 'shop'",
        ),
        (lambda m: m.update(files=[]), "`files` of the manifest"),
        (lambda m: m.update(config=None), "`config` of the manifest"),
    ],
)
def test_manifest_that_does_not_fit_its_day_raises(tiny_data, change, message):
    data = edited(tiny_data, "2024-01-02", change)
    with pytest.raises(ValueError, match=message) as raised:
        streams.batches(data, "natural", WINDOW, 8)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file_format", ["blocks", "examples"])
@pytest.mark.parametrize(
    "files, says",
    [((20,), 19), ((20,), 21), ((12, 8), 12), ((12, 0, 8), 24)],
)
def test_rows_of_the_manifest_are_those_of_the_files(
    tiny_data, monkeypatch, files, says, file_format
):
    # Several blocks a file, the last one shorter.
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 5)
    conftest.write_days(tiny_data, "natural", DAY.days, files, 60, file_format)
    columns = streams.read_columns(reopened(tiny_data), "natural", DAY)
    assert len(columns["click"]) == 20
    data = edited(tiny_data, DAY.first, lambda m: m.update(rows=says))
    path = data.path / "natural" / DAY.first
    message = (
        f"The manifest of {path} says {says} rows, but its files hold 20. "
        f"Delete {path} and convert the day again."
    )
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            streams.batches(data, "natural", DAY, 8)
    with pytest.raises(ValueError, match=re.escape(message)):
        streams.mixed(data, {"natural": DAY, "ads": DAY}, 8, seed=1)


@pytest.mark.parametrize("file_format", ["blocks", "examples"])
@pytest.mark.parametrize("files", [(), (0,)])
def test_empty_day_that_should_hold_rows_raises(tiny_data, files, file_format):
    conftest.write_days(tiny_data, "natural", DAY.days, files, 60, file_format)
    columns = streams.read_columns(reopened(tiny_data), "natural", DAY)
    assert len(columns["click"]) == 0
    data = edited(tiny_data, DAY.first, lambda m: m.update(rows=1))
    with pytest.raises(ValueError, match="from 0 to 0. Received: 1. Delete"):
        data.files("natural", DAY.first)


@pytest.mark.parametrize(
    "file_format, other, seen",
    [("blocks", "examples", 2), ("examples", "blocks", 0)],
)
def test_day_of_another_format_than_its_manifest_says_raises(
    tiny_data, file_format, other, seen
):
    conftest.write_days(
        tiny_data, "natural", DAY.days, (12, 8), 60, file_format
    )
    data = edited(
        tiny_data, DAY.first, lambda m: m["config"].update(format=other)
    )
    with pytest.raises(ValueError, match=f"20 rows, but its files hold {seen}"):
        data.files("natural", DAY.first)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda m: m.update(rows=-1),
            "`rows` should be at least 0. Received: -1",
        ),
        (lambda m: m.update(rows=0), "`rows` of.*from 1 to .*Received: 0"),
        (lambda m: m.update(rows=10**15), "`rows` of.*Received: 10{15}"),
        (lambda m: m.update(rows=6), "`metrics.clicks` of.*from 0 to 6."),
        (lambda m: m["metrics"].update(clicks=-1), "`metrics.clicks` of"),
        (lambda m: m["metrics"].update(clicks=21), "0 to 20. Received: 21"),
        (lambda m: m["metrics"].update(clicks=None), "should be a whole numb"),
    ],
)
def test_impossible_counts_raise_where_rows_are_counted(
    tiny_data, change, message
):
    data = edited(tiny_data, "2024-01-01", change)
    with pytest.raises(ValueError, match=message) as raised:
        data.rows("natural", WINDOW)
    assert "natural/2024-01-01" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_are_hashed_once_and_only_where_rows_are_read(
    tiny_data, monkeypatch
):
    data, hashed = reopened(tiny_data), []
    file_hash = store.file_hash

    def counted(path):
        hashed.append(path)
        return file_hash(path)

    monkeypatch.setattr(artefacts, "file_hash", counted)
    assert data.rows("natural", WINDOW) == 60
    data.table_rows("2024-01-03")
    assert hashed == []
    for _ in range(2):
        streams.read_columns(data, "natural", WINDOW)
    assert len(hashed) == len(set(hashed)) == 6


def test_table_rows_are_those_of_the_end_of_a_day(tiny_data):
    # The natural manifests say 5, 6, 7 users; those of ads, a day later, too.
    expected = {
        "2023-12-31": 1,
        "2024-01-01": 5,
        "2024-01-02": 6,
        "2024-01-03": 7,
        "2024-01-04": 7,
        "2030-01-01": 7,
    }
    for day, rows in expected.items():
        assert tiny_data.table_rows(day)["user"] == rows, day
    assert tiny_data.table_rows("2023-12-31") == {
        "user": 1,
        "item": 1,
        "category": 1,
    }


def test_table_rows_are_the_larger_ones_of_both_domains(tiny_data):
    rows = {"user": 40, "item": 7, "category": 3}
    tiny_data.write_day("ads", "2024-01-01", [], rows)
    assert tiny_data.table_rows("2024-01-01")["user"] == 40


def test_write_day_twice_raises(tiny_data):
    with pytest.raises(FileExistsError, match="was published before"):
        tiny_data.write_day("ads", "2024-01-04", [], {})


def test_write_day_that_fails_leaves_no_day(tiny_data):
    def parts():
        yield {"click": np.zeros(2)}

    with pytest.raises(ValueError, match="is missing"):
        tiny_data.write_day("ads", "2024-01-05", parts(), {})
    assert tiny_data.days("ads") == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert len(list((tiny_data.path / "ads").iterdir())) == 3


def test_write_day_of_unknown_domain_or_format_raises(tiny_data):
    with pytest.raises(ValueError, match="`domain` should be one of natural"):
        tiny_data.write_day("ad", "2024-01-05", [], {})
    with pytest.raises(
        ValueError, match="`file_format` should be one of blocks"
    ):
        tiny_data.write_day("ads", "2024-01-05", [], {}, "csv")


def test_id_spaces_are_read_once(tiny_data):
    assert tiny_data.id_spaces is tiny_data.id_spaces
    assert tiny_data.id_spaces["user"].rows == 7


def test_domains_are_the_two_of_the_design():
    assert features.DOMAINS == ("natural", "ads")
