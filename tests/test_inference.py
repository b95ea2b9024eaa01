"""`ecdctr-convert --infer` on files of public data sets, real and made up."""

import datetime
import pathlib
import re
import zoneinfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import flags
from absl.testing import flagsaver

from ecdctr_tf.input import convert
from ecdctr_tf.input.conversion import files, toml_spec
from ecdctr_tf.input.inference import (
    columns,
    domains,
    inference,
    layout,
    roles,
    samples,
    times,
)
from tests import public_formats

_RNG = np.random.default_rng(0)
LOGS = pathlib.Path(__file__).parents[2] / "shared" / "data"
# Data set -> folder of real files, and how many rows of each are converted.
REAL = {
    "globo": ("globo", 20_000),
    "movielens": ("ml1m_100k", 5_000),
    "mind": ("mind_sample", 200),
    "ebnerd": ("ebnerd_sample", 200),
}
# Data sets that need an edit -> what is found in the message and what the
# message says to put there.
EDITS = {
    "tenrec": ('time = "FILL IN"', "rows_per_day = 100000"),
    "avazu": ('item = "FILL IN"', 'item = "C14"'),
}


def _real(name: str) -> pathlib.Path:
    folder = LOGS / name
    if not folder.is_dir():
        pytest.skip(
            f"../shared/data/{name} is absent; its licence keeps it out"
        )
    return folder


def _shortened(folder: pathlib.Path, out: pathlib.Path, rows: int) -> None:
    """Write the first rows of each file of a folder."""
    for file in folder.iterdir():
        if file.suffix == ".parquet":
            table = next(pq.ParquetFile(file).iter_batches(rows))
            pq.write_table(pa.Table.from_batches([table]), out / file.name)
        else:
            lines = file.read_bytes().splitlines(keepends=True)
            # Files that are joined stay whole.
            kept = lines if len(lines) < 10_000 else lines[:rows]
            kept = kept[:rows] if "behaviors" in file.name else kept
            (out / file.name).write_bytes(b"".join(kept))


def _converted(text: str, source: pathlib.Path, tmp_path) -> dict:
    spec = tmp_path / "logs.toml"
    spec.write_text(text, encoding="utf-8")
    return convert.convert_logs(
        toml_spec.ConversionSpec.load(spec),
        source,
        tmp_path / "data",
        progress=False,
    )


@pytest.mark.parametrize(
    "name, real",
    [
        *((name, True) for name in REAL),
        *((name, False) for name in public_formats.ALL),
    ],
)
def test_public_data_converts_without_an_edit_or_with_the_named_one(
    tmp_path, name, real
):
    source = tmp_path / "logs"
    if real:
        folder, rows = REAL[name]
        inferred = inference.infer(_real(folder))
        source.mkdir()
        _shortened(LOGS / folder, source, rows)
    else:
        public_formats.ALL[name](source)
        inferred = inference.infer(source)
    text = inferred.text
    if name in EDITS:
        (message,) = inferred.edits
        found, put = EDITS[name]
        assert f"`{found}`" in message and put.split('"')[-2:][0] in message
        text = text.replace(found, put)
    else:
        assert inferred.edits == ()
    summary = _converted(text, source, tmp_path)
    assert summary["natural"]["rows"] > 0
    assert 0 < summary["natural"]["ctr"] < 1


def test_most_public_data_converts_without_an_edit():
    names = {*REAL, *public_formats.ALL}
    assert len(names) == 11
    assert len(names - set(EDITS)) >= 0.8 * len(names)


@pytest.mark.parametrize(
    "lines, expected",
    [
        ("a,b,c\n1,2,3\n", ("utf-8", ",", True)),
        ("1,2,3\n4,5,6\n", ("utf-8", ",", False)),
        ("1::2::3\n4::5::6\n", ("utf-8", "::", False)),
        ("1\tx y\t3\n4\tz, u\t6\n", ("utf-8", "\t", False)),
        ("user;item;note\n1;2;a, b\n3;4;c\n", ("utf-8", ";", True)),
        ('u,i,t\n1,"a, b",3\n', ("utf-8", ",", True)),
        ("N1\tnews\tA title\nN2\tnews\tIt\n", ("utf-8", "\t", False)),
        ("only one column\nof text\n", None),
        ("", None),
    ],
)
def test_layout_of_text(tmp_path, lines, expected):
    path = tmp_path / "x.csv"
    path.write_text(lines)
    found = layout.of_text(files.find(tmp_path, "x.csv")[0])
    if expected is None:
        assert found is None
    else:
        assert (found.encoding, found.delimiter, found.header) == expected


@pytest.mark.parametrize(
    "content, encoding",
    [
        ("\ufeffa,b,c\n1,2,é\n".encode(), "utf-8-sig"),
        ("a,b,c\n1,2,é\n".encode("latin-1"), "latin-1"),
        ("a,b,c\n1,2,é\n".encode("utf-16"), "utf-16"),
    ],
)
def test_encoding_of_text(tmp_path, content, encoding):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    found = layout.of_text(files.find(tmp_path, "x.csv")[0])
    assert found.encoding == encoding


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1_700_000_000, 1_700_000_100], ("s", "")),
        ([1_700_000_000_000, 1_700_000_100_000], ("ms", "")),
        ([1_700_000_000_000_000], ("us", "")),
        (["2024-01-05 10:00:00"], ("", "%Y-%m-%d %H:%M:%S")),
        (["2024-01-05T10:00:00.250"], ("", "iso")),
        (["2024-01-05T10:00:00Z"], ("", "iso")),
        (["2024-01-05T10:00:00.25-03:00"] * 19 + [None], ("", "iso")),
        (["2024-01-05T10:00:00.25-03:00", "2024-01-05T10:00:00.1"], None),
        (["11/12/2019 2:14:46 PM"], ("", "%m/%d/%Y %I:%M:%S %p")),
        (["14102100", "14102123"], ("", "%y%m%d%H")),
        ([202206030326], ("", "%Y%m%d%H%M")),
        ([20220603, 20220604], ("", "%Y%m%d")),
        ([12, 15, 3], None),
        (["x", "y"], None),
    ],
)
def test_forms_of_times(values, expected):
    found = times.of_table(pa.table({"event_time": values}))
    if expected is None:
        assert found == []
    else:
        assert (found[0].unit, found[0].format) == expected


@pytest.mark.parametrize("hours", [-3, 0, 5.5, 8])
def test_days_tell_the_zone(hours):
    seconds = 1_700_000_000 + 600 * np.arange(2_000)
    local = (seconds + int(hours * 3600)) // 86_400
    table = pa.table({"time": seconds, "day": local - local[0]})
    (time,) = [t for t in times.of_table(table) if t.column == "time"]
    found = times.days(table, time)
    assert (found.column, found.hours) == ("day", hours)
    assert found.first_day in ("2023-11-14", "2023-11-15")


def _sample(**columns) -> samples.Sample:
    names = layout.Layout(columns=tuple(columns))
    return samples.Sample("x.csv", names, pa.table(columns), 100)


@pytest.mark.parametrize(
    "names, user, item",
    [
        (("user_id", "item_id", "x"), "user_id", "item_id"),
        (("u_userId", "i_docId", "x"), "u_userId", "i_docId"),
        (("uid", "campaign", "x"), "uid", "campaign"),
        (("reviewerID", "asin", "x"), "reviewerID", "asin"),
        (("visitor_id", "creative_id", "ad_id"), "visitor_id", "creative_id"),
        (("a", "b", "c"), "", ""),
    ],
)
def test_roles_by_name(names, user, item):
    values = [1, 2, 3, 4, 1, 2, 3, 4]
    sample = _sample(**dict.fromkeys(names, values))
    assert roles.user(sample, ()).column == user
    assert roles.item(sample, ()).column == item


@pytest.mark.parametrize(
    "column, values, expected",
    [
        ("click", [0, 1, 1], ("click", None)),
        ("label", [-1, 1, 1], ("label", 1)),
        ("is_click", [True, False], ("is_click", None)),
        ("rating", [1.0, 5.0, 3.0], ("rating", 4)),
        ("rating", [1, 10, 7], ("rating", 8)),
        ("clicked", ["true", "false", None], ("clicked", None)),
        ("clicks", [0, 1, 1], ("", None)),
        ("label", ["a", "b"], ("", None)),
    ],
)
def test_labels(column, values, expected):
    found = roles.label(_sample(**{column: values}), ())
    assert (found.column, found.at_least) == expected


@pytest.mark.parametrize(
    "name, values, kind",
    [
        ("price", np.arange(500) / 7, "dense"),
        ("play_time_ms", np.arange(500), ""),
        ("next_read_time", np.arange(500), ""),
        ("impression_id", np.arange(500), ""),
        ("category", np.arange(500) % 9, "id"),
        ("same", [3] * 500, ""),
        ("title", [f"A long title of number {i}" for i in range(500)], ""),
        ("city", ["x", "y"] * 250, "id"),
        ("flag", [True, False] * 250, "id"),
        ("duration_ms", np.arange(500) % 90 * 1000, "dense"),
        # Many whole numbers are amounts, but not beyond those of doubles.
        ("creative", 10**9 + np.arange(500) % 300, "dense"),
        ("creative", 2**60 + np.arange(500) % 300, "id"),
        ("creative", -(2**60) + np.arange(500) % 300, "id"),
        ("amount", 2**60 + np.arange(500) % 300, "dense"),
    ],
)
def test_kinds_of_columns(name, values, kind):
    found = columns.decide(name, pa.chunked_array([pa.array(values)]), None)
    assert found.kind == kind


@pytest.mark.parametrize(
    "values, transform",
    [
        (_RNG.normal(size=5_000), ""),
        (_RNG.random(5_000), ""),
        (_RNG.exponential(10, 5_000), ""),
        # One outlier is no tail: standardising takes no notice of it.
        (np.r_[_RNG.normal(size=5_000), 1e9], ""),
        (_RNG.lognormal(3, 1.5, 5_000), "log1p"),
        (-_RNG.lognormal(3, 1.5, 5_000), "log1p"),
        # So small that a logarithm of 1 + x changes nothing.
        (1e-6 * _RNG.lognormal(3, 1.5, 5_000), "quantiles"),
        # Most are 0.
        (np.maximum(_RNG.lognormal(0, 9, 5_000) - 1e3, 0), "quantiles"),
        (_RNG.lognormal(3, 3, 50), ""),
    ],
)
def test_numbers_of_heavy_tails_are_transformed(values, transform):
    column = pa.chunked_array([pa.array(values)])
    found = columns.decide("bid", column, None)
    assert (found.kind, found.transform) == ("dense", transform)
    assert ("heavy tails" in found.why) == bool(transform)


@pytest.mark.parametrize(
    "values, expected",
    [
        (["sports:0.7|news:0.2", "news:1", ""], ("string", "|", 2, "likely")),
        (["1:0.5, 2:1e-3, 3:2.0", "1:1"], ("int64", ",", 3, "likely")),
        (["a:0.5 b:0.25", "a:1"], ("string", " ", 2, "likely")),
        (["sports:0.7", "news:0.2"], ("string", "|", 1, "a guess")),
        (["a:1|b:2", "c:1|d:2"], ("string", "|", 2, "a guess")),
        # Times, one kind of id with its number, and what is no weight.
        (["10:30|11:45", "12:59|13:01"], None),
        (["ad:17", "ad:19"], None),
        (["a:0.5|b:-0.5", "a:0.5"], None),
        (["a:0.5|b", "a:0.5"], None),
        ([[("a", 0.5), ("b", 1.0)], []], ("string", "", 2, "likely")),
    ],
)
def test_weighted_ids(values, expected):
    nested = pa.list_(pa.struct([("id", pa.string()), ("of", pa.float64())]))
    dtype = nested if isinstance(values[0], list) else pa.string()
    if isinstance(values[0], list):
        values = [[{"id": i, "of": w} for i, w in row] for row in values]
    column = pa.chunked_array([pa.array(values, dtype)])
    found = columns.decide("interests", column, None)
    if expected is None:
        assert found.kind != "weighted_ids"
    else:
        dtype, separator, length, trust = expected
        assert found.kind == "weighted_ids" and found.why.endswith(trust)
        assert (found.dtype, found.separator) == (dtype, separator)
        assert found.length == length


def _of_all_kinds(source: pathlib.Path, name: str) -> None:
    """Write logs with weighted ids, and a number of heavy tails."""
    rng, rows = np.random.default_rng(3), 500
    weights = [{"x": 0.5, "y": 1.0} if i % 3 else {} for i in range(rows)]
    written = ["|".join(f"{k}:{w}" for k, w in d.items()) for d in weights]
    logs = {
        "timestamp": 1_704_420_000 + 100 * np.arange(rows),
        "user_id": np.arange(rows) % 37,
        "item_id": rng.integers(0, 23, rows),
        "click": (rng.random(rows) < 0.3).astype(int),
        "gender": np.where(np.arange(rows) % 37 % 2, "f", "m"),
        "bid": np.round(rng.lognormal(3, 1.5, rows), 2),
        "interests": written,
    }
    logs["category"] = logs["item_id"] % 5
    if name.endswith(".csv"):
        public_formats.write(source / name, logs)
        return
    source.mkdir()
    pairs = pa.map_(pa.string(), pa.float64())
    logs["interests"] = pa.array([list(d.items()) for d in weights], pairs)
    pq.write_table(pa.table(logs), source / name)


@pytest.mark.parametrize("name", ["feed.csv", "feed.parquet"])
def test_weights_transforms_and_crosses_convert(tmp_path, name):
    _of_all_kinds(tmp_path / "logs", name)
    text = inference.infer(tmp_path / "logs").text
    start = text.index("# [[tables]]")
    hint, rest = text[start:].split("\n\n", 1)
    cross = hint.replace("# ", "")
    summary = _converted(
        f"{text[:start]}{cross}\n\n{rest}", tmp_path / "logs", tmp_path
    )
    assert summary["natural"]["rows"] == 500
    spec = toml_spec.ConversionSpec.load(tmp_path / "logs.toml")
    named = {feature.name: feature for feature in spec.features}
    assert named["bid"].transform == "log1p"
    assert named["interests"].kind == "weighted_ids"
    assert named["gender_x_category"].of == ("gender", "category")


@pytest.mark.parametrize(
    "values, kind, length",
    [
        (["a|b", "b|c|a", "a"] * 50, "ids", 3),
        ([["a", "b"], ["b"], []] * 50, "ids", 2),
        ([[1, 2], None, [3, 1, 2]] * 50, "ids", 3),
        ([[0.5, 1.0], [2.0, 3.0], [1.0, 0.0]] * 50, "vector", 2),
        ([[0.5], [2.0, 3.0], [1.0]] * 50, "", 0),
        ([[{"id": 1, "w": 0.5}, None], []] * 50, "weighted_ids", 2),
        ([[{"id": 1, "w": 3}]] * 50, "weighted_ids", 1),
        # What a conversion would not take as weights: times, below 0, null.
        ([[{"id": 1, "w": 1704067233}]] * 50, "", 0),
        ([[{"id": 1, "w": -0.5}]] * 50, "", 0),
        ([[{"id": 1, "w": 0.5}, {"id": 1, "w": None}]] * 50, "", 0),
    ],
)
def test_lists(values, kind, length):
    found = columns.decide("x", pa.chunked_array([pa.array(values)]), None)
    assert (found.kind, found.length) == (kind, length)


@pytest.mark.parametrize(
    "name, values, items, length",
    [
        ("x", ["N1 N2", "", "N2 N9 N1"], ["N1", "N2"], 3),
        ("history", [[1, 2], [3, 1]], [1, 2, 3], 2),
        ("recent_docs", [[1, 2], [3, 1]], [1, 2, 3], 2),
        ("tags", [[1, 2], [3, 1]], [1, 2, 3], None),
        ("title", ["The news of today", "Of the night"], ["N1"], None),
    ],
)
def test_lists_of_items(name, values, items, length):
    column, items = (pa.chunked_array([pa.array(v)]) for v in (values, items))
    found = columns.history(name, column, items)
    assert (found.length if found else None) == length


def test_a_column_that_only_clicks_have_is_left_out():
    click = np.arange(200) % 4 == 0
    values = pa.array(np.arange(200) % 7, mask=~click)
    found = columns.decide("x", pa.chunked_array([values]), click)
    assert (found.kind, found.why) == ("", "there only where there was a click")


def test_a_column_that_tells_the_click_is_left_out():
    click = np.arange(400) % 4 == 0
    values = [np.where(click, 1.0, 4.0), np.where(click, "yes", "no")]
    values.append(np.where(np.arange(400) % 8 == 0, 1.0, 4.0))
    found = [
        columns.decide("x", pa.chunked_array([pa.array(v)]), click).why
        for v in values
    ]
    assert found[:2] == ["tells the click: no value has both labels"] * 2
    assert "tells" not in found[2]


def _platform(source: pathlib.Path) -> None:
    """Write ads and a feed as a platform of ads may log them."""
    rows, start = 400, "2024-01-05T"
    click = np.arange(rows) % 4 == 0
    time = [f"{start}{i % 24:02}:00:{i % 60:02}.5-03:00" for i in range(rows)]
    user = [f"u{i % 37}" if i else "" for i in range(rows)]
    public_formats.write(
        source / "ads.csv",
        {
            "event_time": time,
            "uid": user,
            "creative_id": np.arange(rows) % 11,
            "position": 2 + np.arange(rows) % 3,
            "is_click": np.where(click, "true", "false"),
            "weight": np.where(click, 1.0, 4.0),
        },
    )
    feed = {
        "event_time": pa.array(1_704_420_000 + np.arange(rows)),
        "uid": [f"u{i % 37}" for i in range(rows)],
        "doc_id": np.arange(rows) % 23,
        "event": np.where(click, "click", "view"),
        "recent_docs": [[i % 23, i % 5] for i in range(rows)],
    }
    folder = source / "feed" / "dt=2024-01-05"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(feed), folder / "part-0.parquet")
    (source / "more").mkdir()
    for day in ("01", "02"):
        (source / "more" / f"2024-01-{day}.jsonl").write_text("{}")


def test_logs_of_a_platform(tmp_path):
    source = tmp_path / "logs"
    _platform(source)
    inferred = inference.infer(source)
    spec = tmp_path / "logs.toml"
    spec.write_text(inferred.text)
    found = toml_spec.ConversionSpec.load(spec)
    ads, feed = found.logs
    assert (ads.weight, ads.click, ads.time_format) == (
        "weight",
        "is_click",
        "iso",
    )
    assert feed.name == "feed" and found.null_user == "drop"
    named = {feature.name: feature for feature in found.features}
    assert (named["position"].kind, named["position"].default) == (
        "position",
        2,
    )
    recent = named["recent_docs"]
    assert (recent.kind, recent.table) == ("sequence", "item")
    assert "weight_column" not in named and "event" not in named
    # Files that cannot be read are named once, and so are rows without label.
    unread, clicks = inferred.remarks
    assert unread == (
        "Not read: more/*.jsonl: .jsonl is not read; write Parquet or CSV."
    )
    assert clicks.startswith("feed/dt=2024-01-05/part-0.parquet has no label")
    assert "'event' is the type of the event" in clicks
    summary = _converted(inferred.text, source, tmp_path)
    assert summary["ads"]["clicks"] == 99
    assert summary["counts"]["ads"] == {"dropped without user": 1}


def _local_days(source: pathlib.Path, zone: str) -> None:
    """Write a file a local day, from before summer time until after."""
    for day in ("2024-03-01", "2024-03-20", "2024-05-01"):
        midnight = datetime.datetime.fromisoformat(day)
        start = midnight.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()
        count = np.arange(48)
        public_formats.write(
            source / f"feed/{day}.csv",
            {
                "time": (start + 1_800 * count).astype(int),
                "user_id": count % 7,
                "item_id": count % 5,
                "click": count % 2,
            },
        )


@pytest.mark.parametrize(
    "zone, said",
    [
        ("UTC", '# time_zone = "Europe/Berlin"'),
        ("Asia/Shanghai", "utc_offset_hours = 8.0"),
        ("Europe/Berlin", 'time_zone = "FILL IN"'),
    ],
)
def test_names_of_files_tell_the_zone(tmp_path, zone, said):
    source = tmp_path / "logs"
    _local_days(source, zone)
    inferred = inference.infer(source)
    assert f"\n{said}\n" in inferred.text
    text = inferred.text.replace("FILL IN", zone)
    if zone == "Europe/Berlin":
        (edit,) = inferred.edits
        assert "feed/*.csv" in edit and f"`{said}` by their zone" in edit
    else:
        assert inferred.edits == ()
    found = _converted("longest_gap_days = 60\n" + text, source, tmp_path)
    assert found["natural"]["rows"] == 3 * 48


@pytest.mark.parametrize(
    "items, ads, spaces",
    [
        ("c-{}", "ad-{}", False),
        ("c-{}", "{}", True),
        ("{}", "{}", True),
        ("c-{}", "c-{}", True),
    ],
)
def test_ids_of_ads_are_apart_unless_they_look_it(tmp_path, items, ads, spaces):
    """An ad and an item of one number stay two; names are two already."""
    count = np.arange(100)
    for name, item, form in (
        ("feed", "content_id", items),
        ("ads", "creative_id", ads),
    ):
        public_formats.write(
            tmp_path / f"{name}.csv",
            {
                "time": 1_700_000_000 + 60 * count,
                "user_id": count % 7,
                item: [form.format(i % 20) for i in count],
                "click": count % 3 // 2,
            },
        )
    assert ("id_spaces" in inference.infer(tmp_path).text) == spaces


def test_a_position_of_another_name_is_said_to_look_alike(tmp_path):
    count = np.arange(100)
    for name, item, place in (
        ("feed", "content_id", "position"),
        ("ads", "creative_id", "slot"),
    ):
        public_formats.write(
            tmp_path / f"{name}.csv",
            {
                "time": 1_700_000_000 + 60 * count,
                "user_id": count % 7,
                item: count % 20,
                place: 1 + count % 4,
                "click": count % 3 // 2,
            },
        )
    text = " ".join(inference.infer(tmp_path).text.replace("#", "").split())
    assert "'position' of 'feed' and 'slot' of 'ads' look alike" in text


def test_json_lines_alone_are_named(tmp_path):
    (tmp_path / "2024-01-01.jsonl").write_text("{}")
    with pytest.raises(FileNotFoundError, match="jsonl is not read; write Par"):
        inference.infer(tmp_path)


@pytest.mark.parametrize(
    "path, of_ads, domain",
    [
        ("ads/part.csv", False, "ads"),
        ("feed/part.csv", False, "natural"),
        ("train/train_data_ads.csv", False, "ads"),
        ("globo_dev_target.parquet", False, "ads"),
        ("uploads/x.csv", False, ""),
        ("x.csv", True, "ads"),
        ("news_ads.csv", False, "ads"),
    ],
)
def test_domain_by_name(path, of_ads, domain):
    assert domains.hint(path, of_ads) == domain


@pytest.mark.parametrize(
    "values, ads",
    [
        (["AD", "NORMAL"], ["AD"]),
        (["organic", "sponsored"], ["sponsored"]),
        (["a", "b"], None),
        (["ad"], None),
    ],
)
def test_domain_by_values(values, ads):
    found = domains.split(pa.table({"kind": values * 3}))
    assert (found.ads if found else None) == ads


def test_files_of_one_log_are_read_together(tmp_path):
    for name in ("feed/dt=2024-01-01", "feed/dt=2024-01-02", "ads"):
        public_formats.write(
            tmp_path / name / "part-00000.csv",
            {"user_id": [1, 2, 1], "item_id": [5, 6, 7], "click": [0, 1, 0]},
        )
    (tmp_path / "feed" / ".part.csv.crc").write_text("x,y,z\n1,2,3\n")
    (tmp_path / "README.txt").write_text("a,b,c\n1,2,3\n")
    taken, skipped = samples.take(tmp_path)
    assert [sample.path for sample in taken] == [
        "ads/part-00000.csv",
        "feed/dt=*/part-*.csv",
    ]
    assert [sample.name for sample in taken] == ["ads", "feed"]
    assert skipped == ["README.txt"]


def test_nothing_to_infer_from_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no directory"):
        inference.infer(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="No file matches"):
        inference.infer(tmp_path)
    public_formats.write(tmp_path / "x.csv", {"a": [1], "b": [2], "c": ["z"]})
    with pytest.raises(ValueError, match="No file looks like a log.*x.csv"):
        inference.infer(tmp_path)


def _command(tmp_path, source, capsys):
    flags.FLAGS.mark_as_parsed()
    spec = tmp_path / "made.toml"
    with flagsaver.flagsaver(infer=True, spec=str(spec), source=str(source)):
        try:
            convert.main(["convert"])
        except SystemExit:
            return spec, capsys.readouterr().err
    return spec, capsys.readouterr().out


def test_command_writes_the_spec_once(tmp_path, capsys):
    public_formats.amazon(tmp_path / "logs")
    spec, said = _command(tmp_path, tmp_path / "logs", capsys)
    assert said == f"wrote {spec}\n"
    assert len(toml_spec.ConversionSpec.load(spec).logs) == 2
    _, said = _command(tmp_path, tmp_path / "logs", capsys)
    assert re.search("already exists", said)


def test_command_names_the_edit(tmp_path, capsys):
    public_formats.avazu(tmp_path / "logs")
    spec, said = _command(tmp_path, tmp_path / "logs", capsys)
    assert spec.exists()
    assert re.search(r"made.toml needs an edit.*looks like the item.*C14", said)


@pytest.mark.parametrize("content", ["", "user_id,item_id,time,click\n"])
def test_a_log_without_rows_is_said_not_to_be_read(tmp_path, content):
    count = np.arange(100)
    feed = {
        "user_id": count % 7,
        "item_id": count % 20,
        "time": 1_700_000_000 + 60 * count,
        "click": count % 3 // 2,
    }
    public_formats.write(tmp_path / "feed.csv", feed)
    (tmp_path / "ads.csv").write_text(content)
    said = "it has no rows" if content else "it is empty"
    assert f"Not read: ads.csv: {said}." in inference.infer(tmp_path).remarks
