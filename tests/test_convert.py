import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from absl import flags
from absl.testing import flagsaver

from ecdctr_tf import windows
from ecdctr_tf.input import convert, data_directory, streams
from ecdctr_tf.input.conversion import (
    converter,
    logs,
    readers,
    spill,
    text,
    toml_spec,
)
from tests import conversion_world as world

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
MOVIELENS = pathlib.Path("../shared/data/ml1m_100k")


def _columns(path, domain):
    data = data_directory.DataDirectory(path)
    return data, streams.read_columns(data, domain, data.window(domain))


def _both(seed=0):
    return [("natural", world.table(seed)), ("ads", world.table(seed + 1))]


def test_hand_made_rows(tmp_path):
    hour = 3600
    start = world.FIRST_DAY * 86_400

    def table(*rows):
        names = ("user_id", "item_id", "device", "price", "timestamp", "click")
        return pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))

    natural = table(
        (5, "b", "tv", 2.0, start + 2 * hour, 1),
        (5, "a", "tv", 1.0, start + 1 * hour, 1),
        (5, "a", "pc", 1.0, start + 26 * hour, 1),
    )
    ads = table((5, "b", "pc", 2.0, start + 25 * hour, 0))
    out = world.convert(tmp_path, [("natural", natural), ("ads", ads)])
    data, rows = _columns(out, "natural")
    assert rows["user_id"].tolist() == [1, 1, 1]
    assert rows["item_id"].tolist() == [1, 2, 1]
    assert data.id_spaces["item"].ids.tolist() == ["a", "b"]
    assert data.id_spaces["group"].ids.tolist() == [2]
    assert data.id_spaces["hour"].ids.tolist() == [1, 2]
    assert data.id_spaces["weekday"].ids.tolist() == [0, 1]  # Monday first.
    assert rows["price"].tolist() == [1, 2, 1]
    expected = [[-1, -1, -1], [1, -1, -1], [1, 2, -1]]
    assert rows["both"].tolist() == expected
    clicks = np.log1p([0, 0, 1])
    np.testing.assert_allclose(rows["item_clicks"], clicks, rtol=1e-6)
    np.testing.assert_allclose(
        rows["user_impressions"], np.log1p([0, 0, 2]), rtol=1e-6
    )
    assert rows["user_device_clicks"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(
        rows["item_age"], np.log1p([0, 0, 25]), rtol=1e-6
    )
    _, rows = _columns(out, "ads")
    assert rows["both"].tolist() == [[1, 2, -1]]
    assert rows["same"].tolist() == [[-1, -1]]
    assert rows["item_clicks"][0] == pytest.approx(np.log1p(1))
    assert rows["user_impressions"].tolist() == [0]
    assert rows["item_age"][0] == pytest.approx(np.log1p(23))
    assert data.table_rows(DAYS[0])["device"] == 2
    assert data.table_rows(DAYS[1])["device"] == 3


def test_history_matches_a_loop(tmp_path):
    out = world.convert(tmp_path, _both())
    events = []  # (time, day, domain, user, item, click)
    raw = {}
    for domain in ("natural", "ads"):
        data, rows = _columns(out, domain)
        raw[domain] = rows
        events += zip(
            rows["timestamp"],
            rows["day"],
            [domain] * 120,
            rows["user_id"],
            rows["item_id"],
            rows["click"],
            strict=True,
        )
    for domain, rows in raw.items():
        for i in range(120):
            time, day = rows["timestamp"][i], rows["day"][i]
            user, item = rows["user_id"][i], rows["item_id"][i]
            clicked = sorted(
                (e[0], e[4], e[2])
                for e in events
                if e[3] == user and e[5] and e[0] < time
            )
            for name, length, own in (("both", 3, False), ("same", 2, True)):
                items = [c[1] for c in clicked if not own or c[2] == domain]
                got = [v for v in rows[name][i] if v != -1]
                assert got == items[-length:]
            count = sum(e[4] == item and e[5] and e[1] < day for e in events)
            assert rows["item_clicks"][i] == pytest.approx(np.log1p(count))
            seen = sum(
                e[3] == user and e[2] == domain and e[1] == day - 1
                for e in events
            )
            assert rows["user_impressions"][i] == pytest.approx(np.log1p(seen))
            first = min(e[0] for e in events if e[4] == item)
            age = np.log1p((time - first) / 3600)
            assert rows["item_age"][i] == pytest.approx(age, rel=1e-5)


def test_order_and_number_of_tables_do_not_matter(tmp_path, monkeypatch):
    expected = world.hashes(world.convert(tmp_path, _both()))
    monkeypatch.setattr(spill, "BUFFER_ROWS", 50)
    rng = np.random.default_rng(7)
    tables = []
    for domain, table in _both()[::-1]:
        table = table.take(rng.permutation(len(table)))
        tables += [(domain, table.slice(s, 37)) for s in range(0, 120, 37)]
    out = world.convert(tmp_path, tables, "other")
    assert world.hashes(out) == expected


def test_bytes_do_not_depend_on_the_process(tmp_path):
    # Maps of protocol buffers have no order of their own: it is imposed.
    out = world.convert(tmp_path, _both())
    file = out / "ads" / DAYS[0] / "part-00000.tfrecord"
    names = ("both/length", "click", "device", "hour", "user_id", "weekday")
    places = [
        file.read_bytes().index(b"\n" + bytes([len(n)]) + n.encode())
        for n in names
    ]
    assert places == sorted(places)


def test_later_rows_change_no_earlier_day(tmp_path):
    rule = {"natural": {"per_click": 2}}
    spec = world.spec(negatives=rule, min_count={"item": 9})
    natural, ads = world.table(0, clicks=False), world.table(1)
    before = world.convert(
        tmp_path, [("natural", natural), ("ads", ads)], spec=spec
    )
    late = (world.FIRST_DAY + 2) * 86_400
    changed = []
    for domain, table in (("natural", natural), ("ads", ads)):
        kept = table.filter(pa.array(table["timestamp"].to_numpy() < late))
        more = world.table(9, 60, clicks=domain == "ads")
        moved = pa.array(late + more["timestamp"].to_numpy() % 86_400)
        more = more.set_column(4, "timestamp", moved)
        changed.append((domain, pa.concat_tables([kept, more])))
    after = world.convert(tmp_path, changed, "after", spec=spec)
    for domain in ("natural", "ads"):
        for day in DAYS[:2]:
            path = pathlib.Path(domain) / day
            got = world.hashes(after / path)
            assert got == world.hashes(before / path)
        third = pathlib.Path(domain) / DAYS[2]
        assert world.hashes(after / third) != world.hashes(before / third)


def test_negatives_inherit_the_context_and_take_the_item(tmp_path):
    spec = world.spec(negatives={"natural": {"per_click": 2}})
    table = world.table(0, 400, days=1, clicks=False)
    out = world.convert(tmp_path, [("natural", table)], spec=spec)
    data, rows = _columns(out, "natural")
    raw = {n: table[n].to_pylist() for n in table.column_names}
    contexts = set(
        zip(raw["user_id"], raw["device"], raw["timestamp"], strict=True)
    )
    users, devices, items = (
        np.array(["?", *data.id_spaces[n].ids], object)[rows[c]]
        for n, c in (
            ("user", "user_id"),
            ("device", "device"),
            ("item", "item_id"),
        )
    )
    for row in zip(users, devices, rows["timestamp"].tolist(), strict=True):
        assert row in contexts
    prices = dict(zip(raw["item_id"], raw["price"], strict=True))
    assert rows["price"].tolist() == [prices[i] for i in items]
    # First clicks of a user on an item make an impression, and no others.
    assert rows["click"].sum() == len(
        set(zip(raw["user_id"], raw["item_id"], strict=True))
    )
    assert 0.2 < rows["click"].mean() < 1
    # Re-clicks make no impression but are in the sequences.
    first = min(raw["timestamp"])
    assert rows["timestamp"][0] == first
    last = np.argmax(rows["timestamp"])
    user, time = users[last], rows["timestamp"][last]
    own = sorted(
        (t, i)
        for u, i, t in zip(
            raw["user_id"], raw["item_id"], raw["timestamp"], strict=True
        )
        if u == user and t < time
    )
    got = np.array(["?", *data.id_spaces["item"].ids])[rows["both"][last]]
    assert got.tolist() == [i for _, i in own[-3:]]


def test_negatives_are_drawn_across_midnight(tmp_path):
    spec = world.spec(negatives={"natural": {"per_click": 1}})
    midnight = (world.FIRST_DAY + 1) * 86_400
    table = world.table(0, 2, clicks=False)
    table = table.set_column(0, "user_id", pa.array([1, 2]))
    table = table.set_column(1, "item_id", pa.array(["a", "b"]))
    times = pa.array([midnight - 60, midnight + 60])
    table = table.set_column(4, "timestamp", times)
    out = world.convert(tmp_path, [("natural", table)], spec=spec)
    _, rows = _columns(out, "natural")
    assert rows["click"].tolist() == [1, 1, 0]
    assert rows["item_id"].tolist() == [1, 2, 1]
    assert rows["user_id"].tolist() == [1, 2, 2]


def test_days_without_events_are_written(tmp_path):
    table = world.table(0)
    days = table["timestamp"].to_numpy() // 86_400
    table = table.filter(pa.array(days != world.FIRST_DAY + 1))
    out = world.convert(tmp_path, [("natural", table)])
    data = data_directory.DataDirectory(out)
    assert data.days("natural") == DAYS and data.days("ads") == []
    assert data.manifest("natural", DAYS[1]).rows == 0
    assert data.rows("natural", windows.Window(DAYS[0], DAYS[2])) == len(table)


def test_min_count_admits_from_the_day_after(tmp_path):
    table = world.table(0)
    names, days = table["item_id"].to_pylist(), table["timestamp"].to_numpy()
    days = days // 86_400 - world.FIRST_DAY
    spec = world.spec(min_count={"item": 6})
    out = world.convert(tmp_path, [("natural", table)], spec=spec)
    data, rows = _columns(out, "natural")
    for day in range(3):
        earlier = [n for n, d in zip(names, days, strict=True) if d < day]
        known = {n for n in set(earlier) if earlier.count(n) >= 6}
        got = rows["item_id"][rows["day"] == world.FIRST_DAY + day]
        used = {data.id_spaces["item"].ids[row - 1] for row in got if row}
        today = {n for n, d in zip(names, days, strict=True) if d == day}
        assert used == known & today


def test_examples_hold_the_same_rows_as_blocks(tmp_path):
    blocks = world.convert(tmp_path, _both(), rows_per_file=25)
    examples = world.convert(
        tmp_path, _both(), "examples", file_format="examples"
    )
    assert len(list((blocks / "ads" / DAYS[0]).glob("*.tfrecord"))) > 1
    for domain in ("natural", "ads"):
        _, rows = _columns(blocks, domain)
        _, others = _columns(examples, domain)
        for name, column in rows.items():
            np.testing.assert_array_equal(column, others[name])


def test_arrow_timestamps_are_rounded_down(tmp_path):
    table = world.table(0)
    micros = table["timestamp"].to_numpy() * 1_000_000 + 999_999
    stamps = pa.array(micros).cast(pa.timestamp("us", "UTC"))
    exact = table.set_column(4, "timestamp", stamps)
    expected = world.convert(tmp_path, [("ads", table)])
    out = world.convert(tmp_path, [("ads", exact)], "exact")
    assert world.hashes(out) == world.hashes(expected)


def test_evaluation_columns_pass_through(tmp_path):
    table = world.table(0, 10)
    table = table.append_column("true_ctr", pa.array(np.arange(10) / 10))
    spec = world.spec(evaluation=["true_ctr"])
    out = world.convert(tmp_path, [("ads", table)], spec=spec)
    _, rows = _columns(out, "ads")
    expected = np.argsort(table["timestamp"].to_numpy()) / 10
    np.testing.assert_allclose(rows["true_ctr"], expected, rtol=1e-6)


def test_summary_counts_rows_and_overlap(tmp_path):
    natural = world.table(0, 40)
    ads = world.table(1, 4).set_column(0, "user_id", pa.array([99, 99, 99, 1]))
    out = world.convert(tmp_path, [("natural", natural), ("ads", ads)])
    summary = json.loads((out / converter.SUMMARY).read_text())
    assert summary["natural"]["rows"] == 40
    clicks = int(natural["click"].to_numpy().sum())
    assert summary["natural"]["clicks"] == clicks
    assert summary["ads"]["users"] == 2
    assert summary["overlap"]["user"] == {"ids": 0.5, "rows": 0.25}


def _write_logs(folder, kind):
    folder.mkdir()
    for domain, table in _both():
        times = pa.array(table["timestamp"].to_numpy() * 1000 + 999)
        table = table.set_column(4, "stamp", times)
        if kind == "parquet":
            pa.parquet.write_table(table, folder / f"{domain}.parquet")
            continue
        delimiter = {"tsv": "\t", "csv": ",", "dat": "::"}[kind]
        rows = [table.column_names] * (kind != "dat")
        rows += [list(row.values()) for row in table.to_pylist()]
        text = "\n".join(delimiter.join(map(str, row)) for row in rows)
        (folder / f"{domain}.{kind}").write_text(text)


def _log_spec(kind, **changes):
    delimiter = {"tsv": "\t", "csv": ",", "dat": "::", "parquet": ","}[kind]
    names = ["user_id", "item_id", "device", "price", "stamp", "click"]
    log = {
        "user": "user_id",
        "item": "item_id",
        "time": "stamp",
        "time_unit": "ms",
        "click": "click",
        "delimiter": delimiter,
        "columns": names if kind == "dat" else [],
        **changes,
    }
    both = [
        {"domain": d, "name": d, "path": f"{d}.{kind}", **log}
        for d in ("natural", "ads")
    ]
    return world.spec(logs=both)


@pytest.mark.parametrize("kind", ["parquet", "tsv", "csv", "dat"])
def test_log_files_of_all_kinds_give_the_same(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 50)
    monkeypatch.setattr(text, "BLOCK_BYTES", 700)
    expected = world.hashes(world.convert(tmp_path, _both()))
    _write_logs(tmp_path / "logs", kind)
    out = tmp_path / "out"
    convert.convert_logs(
        _log_spec(kind), tmp_path / "logs", out, progress=False
    )
    assert world.hashes(out) == expected


def test_filters_joins_days_and_text_times(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user,movie,kind,rating,at,date\n"
        "1,10,x,5,2024-01-02 01:30:00,2024-01-02\n"
        "2,10,x,3,2024-01-02 02:30:00,2024-01-02\n"
        "3,11,y,4,2024-01-02 03:30:00,2024-01-02\n"
        "4,12,z,4,2024-01-02 04:30:00,2024-01-02\n"
    )
    (tmp_path / "movies.dat").write_text("10::War|Drama\n12::\n")
    log = {
        "path": "*.csv",
        "user": "user",
        "item": "movie",
        "click": "rating",
        "click_at_least": 4,
        "time": "at",
        "time_format": "%Y-%m-%d %H:%M:%S",
        "day": "date",
        "keep": {"kind": ["x", "y"]},
        "where": [{"weights": {"user": 1, "movie": 2}, "modulo": 2}],
        "joins": [
            {
                "path": "movies.dat",
                "on": "movie",
                "key": "id",
                "take": ["genres"],
                "columns": ["id", "genres"],
                "delimiter": "::",
            }
        ],
    }
    spec = toml_spec.from_dict(
        {
            "utc_offset_hours": 2,
            "tables": [
                {"name": "user"},
                {"name": "item"},
                {"name": "genre", "dtype": "string"},
                {"name": "hour"},
            ],
            "features": [
                {"name": "user_id", "table": "user", "basic": True},
                {
                    "name": "item_id",
                    "table": "item",
                    "side": "item",
                    "basic": True,
                },
                {
                    "name": "genre",
                    "table": "genre",
                    "column": "genres",
                    "separator": "|",
                    "side": "item",
                },
                {"name": "hour", "table": "hour", "time": "hour"},
            ],
            "logs": [
                {"domain": "natural", "negate": True, **log},
                {"domain": "ads", **log},
            ],
        }
    )
    out = tmp_path / "out"
    convert.convert_logs(spec, tmp_path, out, progress=False)
    data, rows = _columns(out, "natural")
    assert data.days("natural") == ["2024-01-02"]
    assert data.id_spaces["user"].ids.tolist() == [1, 3, 2]
    assert data.id_spaces["genre"].ids.tolist() == ["War"]
    assert data.id_spaces["hour"].ids.tolist() == [1, 3, 2]
    assert rows["genre"].tolist() == [1, 0]
    assert rows["click"].tolist() == [1, 1]
    # 01:30 two hours ahead of UTC is 23:30 of the day before.
    assert rows["timestamp"][0] == (world.FIRST_DAY + 1) * 86_400 - 1800
    _, rows = _columns(out, "ads")
    assert rows["click"].tolist() == [0]


def test_command_line(tmp_path, capsys):
    _write_logs(tmp_path / "logs", "tsv")
    spec = tmp_path / "spec.toml"
    spec.write_text(
        """
tables = [{ name = "user" }, { name = "item", dtype = "string" }]
[[features]]
name = "user_id"
table = "user"
basic = true
[[features]]
name = "item_id"
table = "item"
side = "item"
basic = true
[[logs]]
domain = "ads"
name = "shown"
path = "nowhere.tsv"
delimiter = "\\t"
user = "user_id"
item = "item_id"
time = "stamp"
time_unit = "ms"
click = "click"
"""
    )
    out = tmp_path / "out"
    flags.FLAGS.mark_as_parsed()
    with flagsaver.as_parsed(
        spec=str(spec),
        out=str(out),
        source=str(tmp_path / "logs"),
        log=["shown=ads.tsv"],
    ):
        convert.main(["convert"])
        assert "120" in capsys.readouterr().out
        with pytest.raises(SystemExit) as caught:
            convert.main(["convert"])
    assert caught.value.code == 1
    assert (
        capsys.readouterr().err.strip().endswith("or choose another directory.")
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "logs",
        "out",
        "spec.toml",
    ]


def test_specs_of_the_package_are_found_by_name():
    for name in ("globo.toml", "movielens.toml"):
        path = convert.find_spec(name)
        assert toml_spec.ConversionSpec.load(path).logs


@pytest.mark.skipif(
    not MOVIELENS.is_dir(), reason="MovieLens is not in ../shared/data"
)
def test_movielens_first_months(tmp_path):
    spec = toml_spec.ConversionSpec.load(convert.find_spec("movielens.toml"))
    last = windows.day_number("2000-05-20") * 86_400

    def early():
        for domain, table in logs.tables(spec, MOVIELENS):
            kept = table["timestamp"].cast(pa.int64()).to_numpy() < last
            yield domain, table.filter(pa.array(kept))

    out = world.convert(tmp_path, early(), spec=spec)
    summary = json.loads((out / converter.SUMMARY).read_text())
    expected = {"natural": [0, 0], "ads": [0, 0]}
    with open(MOVIELENS / "sample_movielens_rating.dat") as lines:
        for line in lines:
            user, movie, rating, time = map(int, line.split("::"))
            ads = movie % 5 == 0 and (7919 * user + 104729 * movie) % 2 == 0
            if time < last:
                expected["ads" if ads else "natural"][0] += 1
                expected["ads" if ads else "natural"][1] += rating >= 4
    for domain, (rows, clicks) in expected.items():
        assert summary[domain]["rows"] == rows > 0
        assert summary[domain]["clicks"] == clicks
