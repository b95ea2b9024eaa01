"""Ids that expire, rows that new ids get, and what can go wrong."""

import json
import shutil

import numpy as np
import pytest

from ecdctr_tf import artefacts, features, store
from ecdctr_tf.erasure import tables as erased_tables
from ecdctr_tf.input import (
    data_directory,
    doctor,
    erased,
    expired,
    id_space,
    streams,
)
from ecdctr_tf.input.conversion import erasing, expiring
from ecdctr_tf.layers.table_embedding import TableEmbedding
from ecdctr_tf.transfer import checkpoint
from tests import erasure_world, expiry_world
from tests.expiry_world import DATE, DAYS, EXPIRED, append, expire

pytestmark = pytest.mark.usefixtures("eagerly")


def rows(path, domain, first_day=0) -> dict[str, list]:
    """Return the columns of a domain, with raw ids in the place of rows."""
    data = data_directory.DataDirectory(path)
    found = streams.read_columns(data, domain, data.window(domain))
    user, item = (data.id_spaces[name] for name in ("user", "item"))
    late = found["timestamp"] // 86_400 - erasure_world.FIRST_DAY >= first_day
    found["user_id"] = expiry_world.raw_of(user, found["user_id"])
    found["item_id"] = expiry_world.raw_of(item, found["item_id"])
    found["clicked"] = expiry_world.raw_of(item, found["clicked"])
    return {name: column[late].tolist() for name, column in found.items()}


def sizes(path) -> dict[str, int]:
    spaces = data_directory.DataDirectory(path).id_spaces
    return {name: space.rows for name, space in spaces.items()}


# The data directory.


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "data"
    return erasure_world.converted(path, logs=expiry_world.tables())


@pytest.fixture(scope="module")
def left(converted, tmp_path_factory):
    """The data directory after the expiry."""
    path = tmp_path_factory.mktemp("left") / "data"
    shutil.copytree(converted, path)
    expire(path)
    return path


@pytest.fixture
def data(left, tmp_path):
    """A copy of it, to change."""
    shutil.copytree(left, tmp_path / "data")
    return tmp_path / "data"


def test_rows_of_the_newest_days_stay(converted, left):
    newest = DAYS - expiry_world.UNSEEN_DAYS
    for domain in features.DOMAINS:
        before, after = (rows(path, domain) for path in (converted, left))
        gone = np.isin(before["user_id"], EXPIRED)
        assert gone.any() == (domain == "natural")
        wanted = np.where(gone, "None", before["user_id"])
        assert after["user_id"] == wanted.tolist()
        assert after["click"] == before["click"]
        newest_rows = [rows(p, domain, newest) for p in (converted, left)]
        assert newest_rows[0] == newest_rows[1]
    assert doctor.examine(left).findings == []


def test_rows_behind_those_that_go_move_up(converted, left):
    before = data_directory.DataDirectory(converted).id_spaces["user"]
    after = data_directory.DataDirectory(left).id_spaces["user"]
    there = [raw for raw in before.ids if raw not in EXPIRED]
    assert 10 < len(there) < len(before.ids) - 50
    assert after.ids.tolist() == there
    table = expired.load(left).tables["user"]
    np.testing.assert_array_equal(
        table.renumbered(before.lookup(there)), after.lookup(there)
    )
    known = data_directory.DataDirectory(left).table_rows("2024-01-05")["user"]
    was = data_directory.DataDirectory(converted).table_rows("2024-01-05")
    assert known == table.count(was["user"]) < was["user"]


def test_later_days_are_those_without_an_expiry(converted, data, tmp_path):
    """Where no id that is gone comes back, it is not to be seen."""
    shutil.copytree(converted, tmp_path / "meant")
    for path in (data, tmp_path / "meant"):
        append(path, expiry_world.tables(DAYS, DAYS + 2))
    for domain in features.DOMAINS:
        made, meant = (
            rows(p, domain, DAYS) for p in (data, tmp_path / "meant")
        )
        assert made == meant
        assert any(map(any, np.not_equal(made["clicked"], "-")))
    new = data_directory.DataDirectory(data).id_spaces["user"]
    assert (
        new.lookup(["user-000125"]).item() < sizes(tmp_path / "meant")["user"]
    )
    summaries = [
        json.loads((p / "summary.json").read_text())
        for p in (data, tmp_path / "meant")
    ]
    for name in ("rows", "clicks", "days"):
        assert summaries[0]["natural"][name] == summaries[1]["natural"][name]
    assert summaries[0]["natural"]["users"] < summaries[1]["natural"]["users"]


def test_an_id_that_comes_back_is_new(data):
    last = sizes(data)["user"]
    append(data, erasure_world.tables(DAYS, DAYS + 1))
    space = data_directory.DataDirectory(data).id_spaces["user"]
    found = rows(data, "natural", DAYS)
    back = np.isin(found["user_id"], EXPIRED)
    assert back.sum() > 20
    assert (space.lookup(EXPIRED)[space.lookup(EXPIRED) > 0] >= last).all()
    assert not np.array(found["active"])[back].any()
    first = np.flatnonzero(back)[0]
    assert set(found["clicked"][first]) == {"-"}


def test_an_unbounded_stream_stays_within_a_bound(tmp_path):
    """Rows: ids of the days kept, and of those between two expiries."""
    kept, between = expiry_world.UNSEEN_DAYS, 2
    ids = expiry_world.USERS + expiry_world.NEW_USERS * (kept + between - 1)
    path = erasure_world.converted(
        tmp_path / "data", logs=expiry_world.tables(0, 2)
    )
    largest = 0
    for day in range(2, 10, between):
        append(path, expiry_world.tables(day, day + between))
        largest = max(largest, sizes(path)["user"])
        expire(path)
    assert expiry_world.NEW_USERS * 9 > ids
    assert largest <= 1 + ids
    (state,) = (path / "state").iterdir()
    with np.load(state / "keys-user_id.npz") as keys:
        lines = keys["text"].tobytes().count(b"\n")
    assert lines <= expiry_world.USERS + expiry_world.NEW_USERS * (kept - 1)
    for part in ("history-both", "count-active-natural", "summary"):
        with np.load(state / f"{part}.npz") as arrays:
            assert max(len(arrays[name]) for name in arrays.files) < 300


@pytest.mark.parametrize(
    "changes",
    [
        {"negatives": {"natural": {"per_click": 2}}},
        pytest.param({"min_count": {"user": 2}}, marks=pytest.mark.long),
    ],
    ids=["clicks only", "min_count"],
)
def test_state_of_other_conversions(tmp_path, changes):
    spec = erasure_world.spec(**changes)
    clicks = "negatives" in changes

    def logs(first, stop):
        for domain, table in expiry_world.tables(first, stop):
            if clicks and domain == "natural":
                table = table.filter(np.array(table["click"]) == 1).drop(
                    "click"
                )
            yield domain, table

    paths = [tmp_path / name for name in ("data", "meant")]
    for path in paths:
        erasure_world.converted(path, spec, logs=logs(0, DAYS))
    expire(paths[0])
    for path in paths:
        append(path, logs(DAYS, DAYS + 1), spec)
    for domain in features.DOMAINS:
        made, meant = (rows(path, domain, DAYS) for path in paths)
        assert made == meant
    assert doctor.examine(paths[0]).findings == []
    assert sizes(paths[0])["user"] < sizes(paths[1])["user"]


@pytest.mark.long
def test_a_domain_that_is_behind(tmp_path):
    logs = list(expiry_world.tables())
    late = [logs.pop()]
    assert late[0][0] == "ads"
    paths = [tmp_path / name for name in ("data", "meant")]
    for path in paths:
        erasure_world.converted(path, logs=logs)
    expire(paths[0])
    for path in paths:
        append(path, late)
    for domain in features.DOMAINS:
        made, meant = (rows(path, domain, DAYS - 1) for path in paths)
        assert made == meant
    assert doctor.examine(paths[0]).findings == []


def test_rows_of_erased_users_are_free_again(data):
    with erasing.opened(data, "erasing users"):
        there = data_directory.DataDirectory(data)
        ids = there.id_spaces["user"].entries.slice(0, 5)
        erasing.Erasing(there, ids, DATE).run()
    assert len(data_directory.DataDirectory(data).id_spaces["user"].unassigned)
    before = sizes(data)["user"]
    begun = expire(data)
    assert begun.ids["user"] == 0
    assert sizes(data)["user"] == before - 5
    assert [of.former for of in erased.load(data)] == [()]


def test_days_from_before_an_expiry_are_not_scored(left):
    expired.check_scored(left, "2024-01-07")
    with pytest.raises(ValueError, match="2024-01-06 cannot be scored any mor"):
        expired.check_scored(left, "2024-01-06")
    expired.check_scored(left.parent, "2024-01-06")


def test_a_damaged_record_is_refused(left, tmp_path):
    (tmp_path / expired.FILE).write_bytes(
        (left / expired.FILE).read_bytes()[:200]
    )
    with pytest.raises(ValueError, match="expired.npz is damaged"):
        expired.load(tmp_path)


# Numbers.


def test_new_numbers_of_rows():
    table = expired.Renumbering(
        np.array([2, 3, 6], np.int32), np.array([0, 1, 1], np.int32)
    )
    given = np.array([[0, 1, 2, 3], [4, 5, 6, -1]], np.int32)
    found = table.renumbered(given)
    assert found.tolist() == [[0, 1, 0, 1], [2, 3, 1, -1]]
    assert found.dtype == np.int32
    assert [table.count(n) for n in (2, 3, 7, 9)] == [2, 2, 4, 6]
    assert table.kept(7).tolist() == [0, 1, 4, 5]


def test_ids_of_several_buckets_go_to_their_own():
    table = features.TableSpec("user", buckets=4)
    space = id_space.Vocabulary(table, np.arange(10))
    stays = np.ones(space.rows, bool)
    stays[[5, 7]] = False
    found = expiring._renumbering(space, stays)
    after = space.without(found.gone)
    every = space.lookup(np.arange(10))
    np.testing.assert_array_equal(
        found.renumbered(every), after.lookup(np.arange(10))
    )


def test_rows_start_with_the_values_of_their_first_numbers():
    table = TableEmbedding(capacity=9, dim=2, vocab_size=9, seed=3)
    as_now = table.initial_rows(0, 9)
    table.first_rows = np.array([0, 4, 7])
    np.testing.assert_array_equal(
        table.initial_rows(1, 5), as_now[[4, 7, 3, 4]]
    )


# An artefact.


@pytest.fixture
def artefact(tmp_path):
    """The files of a CPM that knows 6 rows and has room for 8."""
    place = tmp_path / "cpm"
    place.mkdir()
    table = np.arange(16, dtype=np.float32).reshape(8, 2)
    other = np.zeros([3, 2], np.float32)
    path = "embedding/tables/{}/embeddings".format
    checkpoint.write(
        place / artefacts.WEIGHTS,
        {path("item"): other, path("user"): table, "bias": other[0]},
    )
    states = {f"table_optimizer/{i}": of for i, of in enumerate([other, table])}
    checkpoint.write(
        place / artefacts.OPTIMIZER,
        {**states, "table_optimizer/2": np.zeros([], np.float32)},
    )
    checkpoint.write(
        place / artefacts.MERGED,
        {
            "user/vectors": np.stack([table[:5], table[:5] + 1]),
            "user/present": np.ones([2, 5], bool),
        },
    )
    np.savez(
        place / "scores.npz",
        ctr=np.zeros(4),
        user=np.array([1, 2, 5, 7], np.int32),
        item=np.arange(4),
    )
    (place / "inputs.json").write_text("{}")
    return place


def test_files_of_an_artefact_get_the_new_numbers(artefact, tmp_path):
    spec = features.TableSpec("user")
    gone = np.array([1, 4], np.int32)
    table = expired.Renumbering(gone, np.zeros(2, np.int32))
    space = id_space.Vocabulary(spec, np.arange(9)).without(gone)
    changed = {"user": erased_tables.Renumbered(space, table.kept(6))}
    target = tmp_path / "new"
    target.mkdir()
    manifest = store.Manifest(artefacts.CPM)
    with store.publish(tmp_path / "published", manifest) as staging:
        for file in artefact.iterdir():
            shutil.copy(file, staging)
    written = erased_tables.renumber(
        tmp_path / "published", target, artefacts.CPM, changed, {"user": table}
    )
    left = [[0, 1], [4, 5], [6, 7], [10, 11]]
    weights = checkpoint.read(target / artefacts.WEIGHTS)
    assert weights["embedding/tables/user/embeddings"].tolist() == left
    assert weights["embedding/tables/item/embeddings"].shape == (3, 2)
    optimizer = checkpoint.read(target / artefacts.OPTIMIZER)
    assert optimizer["table_optimizer/1"].tolist() == left
    assert optimizer["table_optimizer/0"].shape == (3, 2)
    merged = checkpoint.read(target / artefacts.MERGED)
    assert merged["user/vectors"][0].tolist() == left[:3]
    assert merged["user/present"].shape == (2, 3)
    with np.load(target / "scores.npz") as scores:
        assert scores["user"].tolist() == [0, 1, 3, 5]
    with np.load(target / artefacts.FIRST_ROWS) as numbers:
        assert numbers["user"].tolist() == [0, 2, 3, 5]
    assert "inputs.json" in written
    assert not (target / "inputs.json").exists()
