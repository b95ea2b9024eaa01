"""Days of each domain come at their own pace, also later than the other's."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from ecdctr_tf import features, store
from ecdctr_tf.input import convert, data_directory, streams
from ecdctr_tf.input.conversion import toml_spec
from tests import conversion_world as world
from tests.test_appending import Killed, kill_at

DAYS = 8
DRAWN = {"natural": {"per_click": 1, "window_seconds": 43_200}}
N, A = features.DOMAINS
# What is delivered after what: domain -> its days, first and behind the last.
PACES = {
    "ads a day behind": [
        {N: (0, 4), A: (0, 3)},
        *({N: (day, day + 1), A: (day - 1, day)} for day in range(4, 8)),
        {A: (7, 8)},
    ],
    "ads a day behind, each alone": [
        {N: (0, 3), A: (0, 2)},
        *(
            {d: (day - (d == A), day + (d == N))}
            for day in range(3, 8)
            for d in (N, A)
        ),
        {A: (7, 8)},
    ],
    "natural two days behind": [
        {N: (0, 2), A: (0, 4)},
        *({N: (day - 2, day - 1), A: (day, day + 1)} for day in range(4, 8)),
        {N: (6, 8)},
    ],
    "ads every third day": [
        {N: (0, 1), A: (0, 1)},
        *({N: (day, day + 1)} for day in range(1, 4)),
        {A: (1, 4)},
        *({N: (day, day + 1)} for day in range(4, 7)),
        {N: (7, 8), A: (4, 8)},
    ],
    "ads overtake": [
        {N: (0, 5), A: (0, 2)},
        {A: (2, 7)},
        {N: (5, 8), A: (7, 8)},
    ],
    "ads come when all natural days are there": [
        {N: (0, 8)},
        {A: (2, 5)},
        {A: (5, 8)},
    ],
    "natural logs come when all ads are there": [{A: (0, 8)}, {N: (0, 8)}],
}


def logs(first_ads_day=0, seed=0, draws=False):
    natural = world.table(seed, 200, DAYS, clicks=not draws, users=25)
    ads = world.table(seed + 1, 160, DAYS, users=25)
    late = pa.array(world.day_of(ads) >= first_ads_day)
    return {N: natural, A: ads.filter(late)}


def delivered(tables, days):
    return [
        (domain, world.of_days([(domain, tables[domain])], *span)[0][1])
        for domain, span in days.items()
    ]


def raw_rows(out, domain, only=None):
    """Return the columns of a domain, ids as raw ids, rows in one order."""
    data = data_directory.DataDirectory(out)
    columns = streams.read_columns(data, domain, data.window(domain))
    for feature in data.spec.features:
        if not feature.table:
            continue
        space = data.id_spaces[feature.table]
        unknown = [None] * space.table.buckets
        raw = np.array([*unknown, *space.ids.tolist(), "padding"], object)
        columns[feature.name] = raw[columns[feature.name]]
    names = sorted(columns)
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    rows = [dict(zip(names, row, strict=True)) for row in rows]
    return [{n: r[n] for n in only or names} for r in rows]


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("draws", [False, True])
def test_days_that_come_late_are_as_if_they_had_come_in_time(
    tmp_path, pace, draws
):
    first_ads_day = 2 if "all natural" in pace else 0
    tables = logs(first_ads_day, draws=draws)
    spec = world.spec(negatives=DRAWN if draws else {})
    whole = world.convert(tmp_path, list(tables.items()), "whole", spec=spec)
    first, *later = PACES[pace]
    out = world.convert(tmp_path, delivered(tables, first), "out", spec=spec)
    for days in later:
        before = days_of(out)
        world.append(out, delivered(tables, days), spec)
        after = days_of(out)
        assert {name: after[name] for name in before} == before
    data = data_directory.DataDirectory(out)
    assert data.days(A) == data_directory.DataDirectory(whole).days(A)
    assert len(data.days(N)) == DAYS
    # The domain behind sees all that it would have seen; the other one its own
    # past, and of the domain behind what had come by then.
    behind = N if "natural" in pace.split()[0] else A
    own = ["user_id", "item_id", "group", "hour", "price", "click", "same"]
    for domain in features.DOMAINS:
        exact = domain == behind and "overtake" not in pace
        if exact or not draws:
            columns = None if exact else own
            found, expected = (
                raw_rows(path, domain, columns) for path in (out, whole)
            )
            assert found == expected
    check_known(out, tables)


def days_of(out):
    return {
        name: content
        for name, content in world.everything(out).items()
        if name.startswith(("natural/", "ads/"))
    }


def check_known(out, tables):
    """Check that what is known at the end of a day was there by then."""
    data = data_directory.DataDirectory(out)
    last = {}
    for number in range(DAYS):
        day = f"2024-01-{number + 1:02d}"
        seen = {
            raw
            for table in tables.values()
            for raw in table.filter(pa.array(world.day_of(table) <= number))[
                "user_id"
            ].to_pylist()
        }
        rows = data.table_rows(day)
        assert set(data.id_spaces["user"].first(rows["user"]).ids) <= seen
        assert all(rows[name] >= known for name, known in last.items())
        last = rows
    assert last["user"] == data.id_spaces["user"].rows


def test_days_after_late_ones_are_as_converted_at_once(tmp_path):
    tables = logs()
    whole = world.convert(tmp_path, list(tables.items()), "whole")
    out = world.convert(tmp_path, delivered(tables, {N: (0, 5), A: (0, 2)}))
    world.append(out, delivered(tables, {A: (2, 4)}))
    world.append(out, delivered(tables, {A: (4, 7), N: (5, 7)}))
    world.append(out, delivered(tables, {A: (7, 8), N: (7, 8)}))
    for domain in features.DOMAINS:
        last, expected = (
            [
                r
                for r in raw_rows(path, domain)
                if r["day"] == world.FIRST_DAY + 7
            ]
            for path in (out, whole)
        )
        assert last == expected and last


def test_the_same_day_of_natural_logs_then_ads_gives_the_same_bytes(tmp_path):
    """Where nothing looks from one domain to the other but ids."""
    changes = {"sequences": [], "counts": [], "ages": []}
    spec = world.spec(**changes)
    tables = logs()
    whole = world.convert(tmp_path, list(tables.items()), "whole", spec=spec)
    out = world.convert(
        tmp_path, delivered(tables, {N: (0, 4), A: (0, 3)}), spec=spec
    )
    for day in range(3, 8):
        world.append(out, delivered(tables, {A: (day, day + 1)}), spec)
        if day < 7:
            more = delivered(tables, {N: (day + 1, day + 2)})
            world.append(out, more, spec)
    found, expected = world.everything(out), world.everything(whole)
    for name in expected:
        # What ads that come later make known is in their manifests only.
        if not name.startswith("natural/") or "manifest" not in name:
            assert found[name] == expected[name], name
    assert list(found) == list(expected)


def test_a_late_append_killed_at_any_step_and_given_again(
    tmp_path, monkeypatch
):
    tables = logs()
    out = world.convert(tmp_path, delivered(tables, {N: (0, 5), A: (0, 2)}))
    late = delivered(tables, {A: (2, 4)})
    before = world.everything(out)
    whole = shutil.copytree(out, tmp_path / "whole")
    world.append(whole, late)
    expected = world.everything(whole)
    step, done = 0, False
    while not done:
        step += 1
        victim = shutil.copytree(out, tmp_path / f"{step}")
        with monkeypatch.context() as patches:
            kill_at(patches, step)
            try:
                world.append(victim, late)
                done = True
            except Killed:
                pass
        if not done:
            committed = (victim / data_directory.PENDING).exists()
            if committed:
                with pytest.raises(ValueError, match="are being exchanged"):
                    data_directory.DataDirectory(victim)
            elif step % 2:
                with pytest.raises(ValueError, match="There are no rows"):
                    world.append(victim, [])
                found = world.everything(victim)
                found.pop(".lock", None)
                assert found in (before, expected)
            world.append(victim, late)
        assert world.everything(victim) == expected, step
        shutil.rmtree(victim)
    assert step > 20


@pytest.mark.parametrize(
    "days", [{A: (1, 3)}, {N: (4, 6)}, {N: (6, 7), A: (0, 1)}]
)
def test_a_day_that_its_domain_holds_is_refused(tmp_path, days):
    tables = logs()
    out = world.convert(tmp_path, delivered(tables, {N: (0, 5), A: (0, 2)}))
    expected = world.everything(out)
    with pytest.raises(
        ValueError, match="holds all days up to .*(natural|ads) only"
    ):
        world.append(out, delivered(tables, days))
    assert world.everything(out) == expected


def test_state_of_one_day_and_of_the_domain_behind(tmp_path):
    tables = logs()
    out = world.convert(tmp_path, delivered(tables, {N: (0, 5), A: (0, 2)}))
    (day,) = store.dated(out / "state")
    assert day == "2024-01-05" and (out / "state" / day / "behind").is_dir()
    world.append(out, delivered(tables, {A: (2, 5)}))
    assert store.dated(out / "state") == [day]
    assert not (out / "state" / day / "behind").exists()


def test_the_first_ads_may_be_of_any_day_that_is_held(tmp_path):
    """Also of one more days before the last than a pause may have."""
    spec = world.spec(longest_gap_days=3)
    tables = logs()
    out = world.convert(tmp_path, delivered(tables, {N: (0, 8)}), spec=spec)
    world.append(out, delivered(tables, {A: (1, 2)}), spec)
    assert data_directory.DataDirectory(out).days(A)[-1] == "2024-01-02"


SPEC_TEXT = """
[[logs]]
domain = "natural"
path = "natural/*.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"
[[logs]]
name = "ads"
domain = "ads"
path = "ads/*.csv"
user = "user_id"
item = "item_id"
time = "time"
click = "click"
[[tables]]
name = "user"
[[tables]]
name = "item"
dtype = "string"
[[features]]
name = "user_id"
table = "user"
side = "user"
basic = true
[[features]]
name = "item_id"
table = "item"
side = "item"
basic = true
"""


def deliver(source, tables, days):
    """Leave only the files of some days in the source directory."""
    shutil.rmtree(source, ignore_errors=True)
    for domain, table in delivered(tables, days):
        (source / domain).mkdir(parents=True)
        columns = ["user_id", "item_id", "timestamp", "click"]
        table = table.select(columns).rename_columns(
            ["user_id", "item_id", "time", "click"]
        )
        pa.csv.write_csv(table, source / domain / "part.csv")


def test_a_delivery_of_one_domain_is_appended_from_files(tmp_path, caplog):
    tables, source, out = logs(), tmp_path / "logs", tmp_path / "data"
    (tmp_path / "spec.toml").write_text(SPEC_TEXT)
    spec = toml_spec.ConversionSpec.load(tmp_path / "spec.toml")
    deliver(source, tables, {N: (0, 3)})
    with pytest.raises(FileNotFoundError, match="ads"):
        convert.convert_logs(spec, source, out, progress=False)
    deliver(source, tables, {N: (0, 3), A: (0, 2)})
    convert.convert_logs(spec, source, out, progress=False)
    options = {"append": True, "progress": False}
    for days in ({N: (3, 5)}, {A: (2, 4)}, {A: (4, 5)}):
        caplog.clear()
        deliver(source, tables, days)
        convert.convert_logs(spec, source, out, **options)
        assert "No days of this log are read" in caplog.text
    # A path that was given has to be there, and so has any file.
    deliver(source, tables, {N: (5, 6)})
    with pytest.raises(FileNotFoundError, match="none.csv"):
        paths = {"ads": "none.csv"}
        convert.convert_logs(spec, source, out, paths, **options)
    deliver(source, tables, {})
    with pytest.raises(FileNotFoundError, match="natural"):
        convert.convert_logs(spec, source, out, **options)
    data = data_directory.DataDirectory(out)
    assert data.days(N) == data.days(A) and len(data.days(N)) == 5
