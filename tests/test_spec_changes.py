"""Features are added, removed and retyped from one append to the next."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import features, store, windows
from ecdctr_tf.input import data_directory, streams
from ecdctr_tf.input.conversion import (
    converter,
    spec_changes,
    tally,
    toml_spec,
)
from tests import conversion_world as world
from tests.test_appending import Killed, kill_at

N, A = features.DOMAINS
CHANGED = 2  # The first day of the new features.
DAYS = 4
DAY = [windows.day_name(world.FIRST_DAY + i) for i in range(DAYS)]


def new_spec():
    """Return the spec of the world with a change of each sort.

    Removed: `device` and the count that is made of it. Retyped: `price`.
    Added: `brand`, `tags`, a vector, a cross, a count and a sequence.
    """
    old = world.spec()
    values = toml_dict(old)
    values["tables"] = [t for t in values["tables"] if t["name"] != "device"]
    values["tables"] += [
        {"name": "brand", "dtype": "string", "buckets": 2},
        {"name": "price"},
        {"name": "pair", "ids": "hashing", "buckets": 50},
    ]
    kept = [
        f for f in values["features"] if f["name"] not in ("device", "price")
    ]
    values["features"] = [
        {"name": "brand", "table": "brand", "side": "item"},
        *kept,
        {"name": "price", "table": "price", "side": "item"},
        {"name": "tags", "kind": "ids", "table": "brand", "max_length": 2},
        {"name": "look", "kind": "vector", "length": 2},
        {"name": "pair", "kind": "cross", "table": "pair"}
        | {"of": ["brand", "user_id"]},
    ]
    values["counts"] = [
        c for c in values["counts"] if c["name"] != "user_device_clicks"
    ]
    values["counts"].append({"name": "user_clicks", "of": ["user_id"]})
    values["sequences"].append(
        {"name": "long", "table": "item", "max_length": 9, "domain": N}
    )
    return toml_spec.from_dict(values)


def toml_dict(spec):
    """Return what a TOML file says that describes a spec."""
    values = json.loads(json.dumps(dataclasses.asdict(spec)))
    for key in ("logs", "utc_offset_hours", "evaluation"):
        values.pop(key)
    for feature in values["features"]:
        for key in [k for k, v in feature.items() if v is None]:
            feature.pop(key)
    return values


def renewed(table):
    """Return a table of the old spec with the columns of the new one."""
    item = np.char.lstrip(table["item_id"].to_numpy().astype(str), "i")
    item = item.astype(int)
    brand = np.char.add("b", (item % 3).astype(str))
    columns = {n: table[n] for n in table.column_names if n != "device"}
    columns["price"] = pa.array(item * 10)
    columns["brand"] = pa.array(brand)
    columns["tags"] = pa.array([[b, "all"] for b in brand])
    columns["look"] = pa.array([[float(i), 1.0] for i in item])
    return pa.table(columns)


def without_new(table):
    """Return a table of the new columns in which all new ones are missing."""
    columns = {n: table[n] for n in table.column_names if n != "device"}
    columns["price"] = pa.nulls(len(table), pa.int64())
    columns["brand"] = pa.nulls(len(table), pa.string())
    columns["tags"] = pa.nulls(len(table), pa.list_(pa.string()))
    columns["look"] = pa.nulls(len(table), pa.list_(pa.float64()))
    return pa.table(columns)


def logs():
    return [(d, world.table(i, 160, DAYS)) for i, d in enumerate((N, A))]


def changed(tmp_path, name="data"):
    """Return a directory whose features change on the third day."""
    out = world.convert(tmp_path, world.of_days(logs(), 0, CHANGED), name)
    late = world.of_days(logs(), CHANGED, DAYS)
    summary = world.append(out, [(d, renewed(t)) for d, t in late], new_spec())
    return out, summary


def columns(data, domain, first, last, **options):
    window = windows.Window(DAY[first], DAY[last])
    return streams.read_columns(data, domain, window, **options)


def test_days_after_a_change_are_as_if_it_had_been_known(tmp_path):
    early, late = (
        world.of_days(logs(), 0, CHANGED),
        world.of_days(logs(), CHANGED, DAYS),
    )
    tables = [(d, without_new(t)) for d, t in early]
    tables += [(d, renewed(t)) for d, t in late]
    whole = world.convert(tmp_path, tables, "whole", spec=new_spec())
    former = world.convert(tmp_path, early, "former")
    out, _ = changed(tmp_path)
    expected, found = world.everything(whole), world.everything(out)
    before = world.everything(former)
    for name, value in found.items():
        day = name.split("/")[1] if name.startswith((N, A)) else ""
        if day:
            # Days that are held stay, byte for byte.
            of = before if day < DAY[CHANGED] else expected
            assert value == of[name], name
        elif name.startswith("ids/") and "device" not in name:
            assert value == expected[name], name
        elif name.endswith(".npz"):
            # What the next append knows of the past: counts and sequences too.
            assert value == expected[name], name


def test_days_before_a_change_read_as_missing(tmp_path):
    early = [(d, without_new(t)) for d, t in world.of_days(logs(), 0, CHANGED)]
    late = [(d, renewed(t)) for d, t in world.of_days(logs(), CHANGED, DAYS)]
    whole = world.convert(tmp_path, [*early, *late], "whole", spec=new_spec())
    whole = data_directory.DataDirectory(whole)
    data = data_directory.DataDirectory(changed(tmp_path)[0])
    known = {"brand", "tags", "price", "look", "pair"}
    # Made of the past, or of parts that are not all missing: not known of days
    # that were converted without.
    made = {"user_clicks", "long", "pair"}
    for domain in (N, A):
        expected = columns(whole, domain, 0, DAYS - 1)
        found = columns(data, domain, 0, DAYS - 1)
        assert set(found) == set(expected) and known < set(found)
        for name in set(found) - made:
            np.testing.assert_array_equal(found[name], expected[name], name)
        old = found["day"] < world.FIRST_DAY + CHANGED
        assert np.isnan(found["user_clicks"][old]).all()
        assert (found["long"][old] == features.PADDING).all()
        for name in made:
            np.testing.assert_array_equal(
                found[name][~old], expected[name][~old], name
            )
        assert len(np.unique(found["pair"][old])) == 1
        assert (found["price"][old] == 0).all()
        assert (found["price"][~old] > 0).all()
    # The last days read the clicks and counts of the first ones.
    assert (found["long"][~old] >= 0).any()


def test_shuffled_rows_over_a_change_hold_the_same_rows(tmp_path):
    data = data_directory.DataDirectory(changed(tmp_path)[0])
    window = windows.Window(DAY[0], DAY[-1])
    plain = columns(data, N, 0, DAYS - 1)
    batches = list(streams.batches(data, N, window, 50, seed=3, passes=2))
    rows = {
        name: np.concatenate([inputs[name] for inputs, _ in batches])
        for name in ("day", "price", "user_clicks")
    }
    assert len(rows["day"]) == 2 * len(plain["day"])
    for name, values in rows.items():
        np.testing.assert_array_equal(
            np.sort(values), np.sort(np.tile(plain[name], 2)), name
        )


def test_a_model_of_the_former_spec_reads_all_days(tmp_path):
    data = data_directory.DataDirectory(changed(tmp_path)[0])
    former = data.former[0].spec
    found = columns(data, N, 0, DAYS - 1, spec=former)
    old = found["day"] < world.FIRST_DAY + CHANGED
    assert found["price"].dtype == np.float32
    assert np.isfinite(found["price"][old]).all()
    assert np.isnan(found["price"][~old]).all()


def test_the_summary_says_what_has_changed_since_when(tmp_path):
    _, summary = changed(tmp_path)
    (change,) = summary["features"]
    assert change["since"] == {N: DAY[CHANGED], A: DAY[CHANGED]}
    assert change["added"] == [
        "brand",
        "tags",
        "look",
        "pair",
        "long",
        "user_clicks",
    ]
    assert change["removed"] == ["device", "user_device_clicks"]
    assert change["retyped"] == ["price"]
    (note,) = [n for n in tally.notes(summary) if "have changed" in n]
    assert f"since {DAY[CHANGED]} (natural) and {DAY[CHANGED]} (ads)" in note
    assert "retyped (removed, and added anew) price" in note


def test_appends_go_on_after_a_change(tmp_path):
    out = world.convert(tmp_path, world.of_days(logs(), 0, CHANGED))
    for k in range(CHANGED, DAYS):
        today = [(d, renewed(t)) for d, t in world.of_days(logs(), k, k + 1)]
        world.append(out, today, new_spec())
    assert world.everything(out) == world.everything(
        changed(tmp_path, "at once")[0]
    )


def test_a_domain_that_is_late_over_a_change(tmp_path):
    """The late day is written with the new features, from their state."""
    natural, ads = logs()
    out = world.convert(
        tmp_path, [*world.of_days([natural], 0, 3), *world.of_days([ads], 0, 2)]
    )
    late = [(d, renewed(t)) for d, t in world.of_days([ads], 2, DAYS)]
    world.append(out, late, new_spec())
    late = [(d, renewed(t)) for d, t in world.of_days([natural], 3, DAYS)]
    world.append(out, late, new_spec())
    data = data_directory.DataDirectory(out)
    expected = data_directory.DataDirectory(changed(tmp_path, "in time")[0])
    for name in ("user_clicks", "both", "item_id", "look"):
        np.testing.assert_array_equal(
            columns(data, A, 0, CHANGED)[name],
            columns(expected, A, 0, CHANGED)[name],
            name,
        )
    assert np.isnan(columns(data, N, 2, 2)["user_clicks"]).all()


@pytest.mark.long
def test_an_append_killed_at_any_step_of_a_change(tmp_path, monkeypatch):
    expected = world.everything(changed(tmp_path, "whole")[0])
    early = world.of_days(logs(), 0, CHANGED)
    late = [(d, renewed(t)) for d, t in world.of_days(logs(), CHANGED, DAYS)]
    before = world.convert(tmp_path, early, "before")
    for step in range(1, 100):
        out = shutil.copytree(before, tmp_path / f"killed at {step}")
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                world.append(out, late, new_spec())
            except Killed:
                pass
            else:
                break
        # Readers can go on: each day has a spec that is known.
        data = data_directory.DataDirectory(out)
        for domain in (N, A):
            for day in data.days(domain):
                assert data.manifest(domain, day).rows
        if step % 3 == 0 and store.dated(out / "state") == [DAY[1]]:
            # The former spec goes on as if nothing had been.
            again = world.of_days(logs(), CHANGED, DAYS)
            world.append(out, again)
            assert not (out / "former_specs.json").exists()
            continue
        world.append(out, late, new_spec())
        assert world.everything(out) == expected, step
    assert step > 5


def test_a_day_from_before_a_change_is_replaced(tmp_path):
    """It is converted with the features of now, as are all days after it."""
    out, _ = changed(tmp_path)
    natural = [(d, without_new(t)) for d, t in logs()[:1]]
    converter.replace_day(new_spec(), natural, out, DAY[1], progress=False)
    data = data_directory.DataDirectory(out)
    assert data.former[0].until == {N: DAY[0], A: DAY[0]}
    newest = data.spec.fingerprint()
    specs = [data.manifest(N, day).spec == newest for day in DAY]
    assert specs == [False, True, True, True]
    early = [(d, without_new(t)) for d, t in world.of_days(logs(), 0, CHANGED)]
    late = [(d, renewed(t)) for d, t in world.of_days(logs(), CHANGED, DAYS)]
    whole = world.convert(tmp_path, [*early, *late], "whole", spec=new_spec())
    expected, found = world.everything(whole), world.everything(out)
    rows = [n for n in found if n.endswith("tfrecord") and DAY[0] not in n]
    assert len(rows) == 2 * (DAYS - 1)
    assert {n: found[n] for n in rows} == {n: expected[n] for n in rows}


def test_days_after_a_change_are_taken_back(tmp_path):
    out, _ = changed(tmp_path)
    converter.drop_days(new_spec(), out, DAY[CHANGED], progress=False)
    late = [(d, renewed(t)) for d, t in world.of_days(logs(), CHANGED, DAYS)]
    world.append(out, late, new_spec())
    assert world.everything(out) == world.everything(
        changed(tmp_path, "never taken back")[0]
    )


def edited(**changes):
    """Return the world's spec with other entries of features."""
    values = toml_dict(world.spec())
    for feature in values["features"]:
        feature.update(changes.get(feature["name"], {}))
    return toml_spec.from_dict(values)


@pytest.mark.parametrize(
    "given, message",
    [
        (
            edited(price={"missing": 0.0}),
            "'price' would be read or computed in another way",
        ),
        (edited(group={"divide": 3}), "'group' would be read"),
        (
            edited(user_id={"column": "member"}),
            r"parts differ: features\.user_id",
        ),
        (
            world.spec(
                tables=[
                    {**t, "dtype": "int64"} if t["name"] == "device" else t
                    for t in toml_dict(world.spec())["tables"]
                ]
            ),
            r"parts differ: tables\.device",
        ),
        (world.spec(min_count={"device": 2}), r"differ: min_count\.device"),
    ],
)
def test_what_may_not_change(tmp_path, given, message):
    out = world.convert(tmp_path, world.of_days(logs(), 0, 2))
    before = world.everything(out)
    with pytest.raises(ValueError, match=message):
        world.append(out, world.of_days(logs(), 2, 4), given)
    assert world.everything(out) == before


def test_a_feature_that_comes_back_needs_another_name(tmp_path):
    out, _ = changed(tmp_path)
    later = [(d, world.table(9, 20, DAYS + 1)) for d in (N, A)]
    later = world.of_days(later, DAYS, DAYS + 1)
    with pytest.raises(ValueError, match="feature 'device' was removed"):
        world.append(out, later)


def test_features_change_with_append_only(tmp_path):
    out = world.convert(tmp_path, world.of_days(logs(), 0, 2))
    with pytest.raises(ValueError, match="change with --append only"):
        converter.drop_days(new_spec(), out, DAY[1], progress=False)


def test_directories_of_older_versions(tmp_path):
    """They kept one hash of all features; an append writes the finer ones."""
    out = world.convert(tmp_path, world.of_days(logs(), 0, 1), "older")
    path = out / "state" / DAY[0] / store.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["config"]["conversion"] = spec_changes.by_field(world.spec())
    del manifest["config"]["former_specs"], manifest["sha256"]
    path.write_text(json.dumps(manifest))
    late = [(d, renewed(t)) for d, t in world.of_days(logs(), CHANGED, DAYS)]
    with pytest.raises(ValueError, match="written by an older version"):
        world.append(out, late, new_spec())
    world.append(out, world.of_days(logs(), 1, 2))
    world.append(out, late, new_spec())
    assert world.everything(out) == world.everything(changed(tmp_path)[0])
