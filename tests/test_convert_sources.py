"""Natural logs of several sources, from logs to files."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import features, windows
from ecdctr_tf.input import streams
from ecdctr_tf.input.checking import checking, report, warnings
from ecdctr_tf.input.conversion import converter, logs, toml_spec
from ecdctr_tf.input.data_directory import DataDirectory
from tests import conversion_world as world

DAYS = windows.Window("2024-01-01", "2024-01-03")
NAMES = ("feed", "search")
SOURCES = {"sources": [{"name": name} for name in NAMES]}
DRAWN = {"negatives": {"natural": {"per_click": 2, "window_seconds": 7_200}}}

SPEC = f"""
{world.USER_AND_ITEM}
[[sources]]
name = "feed"
[[sources]]
name = "search"

[[features]]
name = "source"
kind = "dense"
missing = 0.0
"""
LOG = """
[[logs]]
domain = "{domain}"
path = "{name}.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"
"""
# Two days; a column that is called `source` is a feature like any other.
ROWS = """user_id,item_id,time,click,source
{first},10,1704067200,1,7
{first},11,1704153600,0,8
"""


def write_logs(place, *lines):
    """Write three small files and their spec, with a line for each log."""
    logs_of = (("natural", "feed"), ("natural", "search"), ("ads", "ads"))
    text = SPEC
    for (domain, name), line in zip(logs_of, lines, strict=True):
        first = len(text)
        (place / f"{name}.csv").write_text(ROWS.format(first=first))
        text += LOG.format(domain=domain, name=name) + line + "\n"
    (place / "logs.toml").write_text(text)
    return toml_spec.ConversionSpec.load(place / "logs.toml")


def table(seed, source=None, clicks=True, **options):
    """Return rows whose source is one for all, or one of the two in turn."""
    rows = world.table(seed, clicks=clicks, **options)
    names = np.resize([source] if source else NAMES, len(rows))
    return rows.append_column(features.SOURCE, pa.array(names))


def numbers(path, domain="natural", window=DAYS):
    data = DataDirectory(path)
    columns = streams.read_columns(data, domain, window, with_source=True)
    return columns[features.SOURCE]


def test_each_log_says_its_source(tmp_path):
    spec = write_logs(
        tmp_path, 'source = "feed"', 'source = "search"\ndownsampled = 0.5', ""
    )
    out = tmp_path / "data"
    summary = converter.convert_tables(
        spec, logs.tables(spec, tmp_path), out, progress=False
    )
    data = DataDirectory(out)
    window = windows.Window("2024-01-01", "2024-01-02")
    rows = streams.read_columns(data, "natural", window, with_source=True)
    # The users of a log are its own.
    assert rows["user_id"].tolist() == [1, 2, 1, 2]
    assert rows[features.SOURCE].tolist() == [1, 2, 1, 2]
    # A feature may be called as sources are elsewhere.
    np.testing.assert_array_equal(rows["source"], [7, 7, 8, 8])
    assert data.sources == NAMES
    assert data.of_sources("2024-01-02") == {
        "feed": {"rows": 1, "clicks": 0, "weight": 1.0},
        "search": {"rows": 1, "clicks": 0, "weight": 2.0},
    }
    assert summary["sources"] == {
        "feed": {"rows": 2, "clicks": 1},
        "search": {"rows": 2, "clicks": 1},
    }
    ads = json.loads((out / "ads/2024-01-01/manifest.json").read_text())
    assert "sources" not in ads["config"]
    assert not numbers(out, "ads", window).any()


@pytest.mark.parametrize("name", ["blocks", "examples"])
def test_rows_have_the_source_of_their_events(tmp_path, name):
    plain = [("natural", world.table(0)), ("ads", world.table(1))]
    given = [("natural", table(0)), ("ads", world.table(1))]
    spec = world.spec(**SOURCES)
    path = world.convert(tmp_path, given, spec=spec, file_format=name)
    data = DataDirectory(path)
    rows = streams.read_columns(data, "natural", DAYS, with_source=True)
    # Prices tell items, times tell rows.
    source = given[0][1]
    expected = {
        time: 1 + NAMES.index(of)
        for time, of in zip(
            source["timestamp"].to_pylist(),
            source[features.SOURCE].to_pylist(),
            strict=True,
        )
    }
    found = [expected[time] for time in rows["timestamp"]]
    np.testing.assert_array_equal(rows[features.SOURCE], found)
    # All other columns are what they are without sources.
    other = world.convert(tmp_path, plain, "plain", file_format=name)
    before = streams.read_columns(DataDirectory(other), "natural", DAYS)
    for column, values in before.items():
        np.testing.assert_array_equal(values, rows[column])


def test_a_directory_without_sources_has_no_trace_of_them(tmp_path):
    out = world.convert(tmp_path, [("natural", world.table(0))])
    manifest = (out / "natural/2024-01-01/manifest.json").read_text()
    state = next(out.glob("state/*/manifest.json")).read_text()
    spec = (out / "spec.json").read_text()
    block = (out / "natural/2024-01-01/part-00000.tfrecord").read_bytes()
    for text in (manifest, state, spec):
        assert "source" not in text
    assert b"source" not in block
    data = DataDirectory(out)
    assert data.sources == ()
    assert list(data.of_sources("2024-01-01")) == ["unknown"]
    assert "sources" not in json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize("changes", [{}, DRAWN])
def test_appended_sources_make_the_same_files(tmp_path, changes):
    spec = world.spec(**SOURCES, **changes)
    rows = table(0, rows=400, clicks=not changes)
    tables = [("natural", rows), ("ads", world.table(1))]
    whole = world.convert(tmp_path, tables, "whole", spec=spec)
    grown = world.convert(
        tmp_path, world.of_days(tables, 0, 1), "grown", spec=spec
    )
    world.append(grown, world.of_days(tables, 1, 3), spec)
    assert world.everything(whole) == world.everything(grown)
    assert set(numbers(whole)) == {1, 2}


@pytest.mark.parametrize("changes", [{}, DRAWN])
def test_sources_begin_with_an_append(tmp_path, changes):
    """Earlier rows are of no known source; files of before stay."""
    clicks = not changes
    before, after = world.spec(**changes), world.spec(**SOURCES, **changes)
    old = [
        ("natural", world.table(0, rows=400, clicks=clicks)),
        ("ads", world.table(1)),
    ]
    new = [
        ("natural", table(2, rows=400, clicks=clicks)),
        ("ads", world.table(3)),
    ]
    out = world.convert(tmp_path, world.of_days(old, 0, 1), spec=before)
    kept = world.hashes(out / "natural")
    summary = world.append(out, world.of_days(new, 1, 3), after)
    assert kept.items() <= world.hashes(out / "natural").items()
    first = windows.Window("2024-01-01", "2024-01-01")
    assert not numbers(out, window=first).any()
    later = windows.Window("2024-01-02", "2024-01-03")
    found = numbers(out, window=later)
    if not changes:
        assert set(found) == {1, 2}
    data = DataDirectory(out)
    assert data.sources == NAMES
    assert summary["sources"]["unknown"]["rows"] == data.rows("natural", first)
    total = sum(of["rows"] for of in summary["sources"].values())
    assert total == data.rows("natural", DAYS)
    # Days of before are made anew as they were.
    changed = converter.replace_day(
        after,
        world.of_days(new, 2, 3),
        out,
        "2024-01-03",
        progress=False,
    )
    assert changed.days == {}


def test_a_source_that_comes_late_needs_its_day_as_a_whole(tmp_path):
    spec = write_logs(tmp_path, 'source = "feed"', 'source = "search"', "")
    out, day = tmp_path / "data", "2024-01-02"
    late = (tmp_path / "search.csv").read_text()
    (tmp_path / "search.csv").write_text(late.rpartition("\n1")[0] + "\n")

    def tables(of):
        return logs.tables(of, tmp_path, partly=True)

    converter.convert_tables(spec, tables(spec), out, progress=False)
    (tmp_path / "search.csv").write_text(late)
    feed = (tmp_path / "feed.csv").rename(tmp_path / "feed.late")
    with pytest.raises(ValueError, match="--replace=DAY and the logs of all"):
        converter.append_tables(spec, tables(spec), out, progress=False)
    message = "no events of the source 'feed' on 2024-01-02, of which 1 rows"
    with pytest.raises(ValueError, match=message):
        converter.replace_day(spec, tables(spec), out, day, progress=False)
    feed.rename(tmp_path / "feed.csv")
    converter.replace_day(spec, tables(spec), out, day, progress=False)
    assert set(DataDirectory(out).of_sources(day)) == set(NAMES)
    # A log that the spec no longer has may go.
    less = dataclasses.replace(spec, logs=spec.logs[1:])
    converter.replace_day(less, tables(less), out, day, progress=False)
    assert set(DataDirectory(out).of_sources(day)) == {"search"}


def test_a_new_source_comes_behind_the_others(tmp_path):
    spec = world.spec(**SOURCES)
    tables = [("natural", table(0)), ("ads", world.table(1))]
    out = world.convert(tmp_path, world.of_days(tables, 0, 1), spec=spec)
    names = [{"name": name} for name in ("feed", "search", "video")]
    wider = world.spec(sources=names)
    video = table(0, "video")
    world.append(out, world.of_days([("natural", video)], 1, 2), wider)
    data = DataDirectory(out)
    assert data.sources == ("feed", "search", "video")
    assert list(data.of_sources("2024-01-02")) == ["video"]
    for others in (names[:1], names[::-1], []):
        with pytest.raises(ValueError, match="The sources of .* are feed, sea"):
            world.append(
                out,
                world.of_days([("natural", video)], 2, 3),
                world.spec(sources=others),
            )


def test_check_says_what_each_source_holds(tmp_path):
    spec = write_logs(tmp_path, 'source = "feed"', 'source = "search"', "")
    found = checking.check(spec, tmp_path)
    of = {"days": 2, "first": "2024-01-01", "last": "2024-01-02"}
    assert found["sources"] == {
        name: {"rows": 2, "clicks": 1, **of} for name in NAMES
    }
    assert set(found["features"]) == {"user_id", "item_id", "source"}
    report.write(found, tmp_path / "page")
    page = (tmp_path / "page/check.md").read_text()
    assert "Natural sources" in page
    (tmp_path / "search.csv").write_text(ROWS.partition("\n")[0] + "\n")
    said = warnings.warnings(checking.check(spec, tmp_path))
    assert "The natural source 'search' has no rows." in [s for s, _ in said]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (('source = "feed"', "", ""), "feed, search. Received: ''"),
        (('source = "feed"', 'source = "serch"', ""), "Received: 'serch'"),
        (
            ('source = "feed"', 'source = "search"', 'source = "feed"'),
            "is for natural logs",
        ),
    ],
)
def test_sources_of_logs_are_checked(tmp_path, lines, message):
    with pytest.raises(ValueError) as error:
        write_logs(tmp_path, *lines)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["feed", "Feed"], "needs a name of its own"),
        (["unknown"], "cannot be called 'unknown'"),
        (["a b"], "should start with a letter"),
        ([f"s{i}" for i in range(256)], "at most 255"),
    ],
)
def test_names_of_sources_are_checked(names, message):
    with pytest.raises(ValueError, match=message):
        world.spec(sources=[{"name": name} for name in names])


def test_an_unknown_source_in_a_column_names_those_there_are(tmp_path):
    rows = world.table(0)
    names = pa.array(["feed"] * (len(rows) - 1) + ["serch"])
    rows = rows.append_column(features.SOURCE, names)
    with pytest.raises(ValueError, match="name of a source: feed, search"):
        world.convert(tmp_path, [("natural", rows)], spec=world.spec(**SOURCES))


def test_a_manifest_that_leaves_rows_out_is_rejected(tmp_path):
    out = world.convert(
        tmp_path, [("natural", table(0))], spec=world.spec(**SOURCES)
    )
    file = out / "natural/2024-01-01/manifest.json"
    manifest = json.loads(file.read_text())
    manifest["metrics"]["sources"]["feed"]["rows"] += 1
    del manifest["sha256"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="should hold all"):
        DataDirectory(out).of_sources("2024-01-01")
