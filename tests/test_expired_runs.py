"""Runs whose ids expire: artefacts, versions, and what can go wrong."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import artefacts, stages, windows
from ecdctr_tf.erasure import changes, exports, runs, tables
from ecdctr_tf.operation import family
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from tests import erasure_world, expiry_world, training_world
from tests.expiry_world import DAYS, EXPIRED, append, expire

pytestmark = [pytest.mark.usefixtures("eagerly"), pytest.mark.long]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "data"
    return erasure_world.converted(path, logs=expiry_world.tables())


@pytest.fixture(scope="module")
def whole(converted, tmp_path_factory):
    """Data and a run whose A-CTR has a CPM to take from when it goes on."""
    place = tmp_path_factory.mktemp("whole")
    shutil.copytree(converted, place / "data")
    for stage in ("tpm", "aggregate", "cpm", "ctr"):
        stages.run(expiry_world.request(place, stage))
    newest = windows.Window("2024-01-06", "2024-01-06")
    stages.run(expiry_world.request(place, "cpm", window=newest))
    return place


@pytest.fixture(scope="module")
def after(whole, tmp_path_factory):
    place = tmp_path_factory.mktemp("after") / "copy"
    shutil.copytree(whole, place)
    stages.run(expiry_world.request(place, "expire"))
    return place


def test_ids_that_stay_keep_what_was_learned(whole, after):
    before = erasure_world.opened(whole).id_spaces
    now = erasure_world.opened(after).id_spaces
    compared, left_out = set(), 0
    for place, manifest in runs.places(after / "run").items():
        old = whole / place.relative_to(after.resolve())
        of_old = runs.places(whole / "run")[old.resolve()]
        for prefix in tables.checkpoints(place):
            was, is_now = (
                checkpoint.read(old / prefix),
                checkpoint.read(place / prefix),
            )
            for table in ("user", "item"):
                for name in tables.weights(is_now, table):
                    count = int(manifest.ids[table]["rows"])
                    assert count < int(of_old.ids[table]["rows"])
                    assert len(is_now[name]) == count
                    ids = now[table].ids[: count - 1]
                    places = before[table].lookup(list(ids))
                    np.testing.assert_array_equal(
                        is_now[name][1:], was[name][places]
                    )
                    compared.add(manifest.kind)
                if f"{table}/ids" in is_now:
                    of_now = set(is_now[f"{table}/ids"])
                    gone = set(was[f"{table}/ids"]) - of_now
                    left_out += len(gone)
                    assert not {i.decode() for i in gone if table == "user"} - {
                        *EXPIRED
                    }
                    compared.add(prefix)
    assert compared == {"snapshot", "cpm", "ctr", "historical"}
    assert left_out > 100


def test_the_next_day_is_scored_to_the_same_bits(whole, after, tmp_path):
    """New ids have rows that others had, and read what any new id reads.

    The A-CTR takes a CPM of before the expiry, of which some rows are known to
    it and not to the CPM before: their first values are those of numbers that
    they do not have any more.
    """
    found = []
    for place in (whole, after):
        copy = tmp_path / place.parent.name
        shutil.copytree(place, copy)
        append(copy / "data", expiry_world.tables(DAYS, DAYS + 1))
        stages.run(expiry_world.request(copy, "ctr"))
        run = Workdir(copy / "run").ctr("e_cdctr") / "2024-01-07"
        found.append(artefacts.read_scores(run))
        spaces = erasure_world.opened(copy).id_spaces
        for role in ("user", "item"):
            found[-1][role] = expiry_world.raw_of(spaces[role], found[-1][role])
    assert len(found[0]["ctr"]) == 100
    new = np.isin(found[1]["user"], [f"user-{n:06d}" for n in range(140, 160)])
    assert new.any()
    for name, column in found[0].items():
        np.testing.assert_array_equal(column, found[1][name], name)


def test_parents_are_those_of_now(after):
    for place, manifest in runs.places(after / "run").items():
        for role in manifest.parents:
            artefacts.parent_path(place, manifest, role)
        assert manifest.metrics[changes.EXPIRED]


def test_nothing_expires_twice(after, capsys):
    before = training_world.tree(after)
    stages.run(expiry_world.request(after, "expire"))
    assert training_world.tree(after) == before
    assert "0 ids expired" in capsys.readouterr().out


def test_what_a_level_still_needs_does_not_expire(whole, tmp_path):
    with pytest.raises(ValueError, match="as many days at least"):
        stages.run(expiry_world.request(whole, "expire", unseen_days=1))
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    append(copy / "data", expiry_world.tables(DAYS, DAYS + 1))
    with pytest.raises(ValueError, match="Train it with --stage=ctr first"):
        stages.run(expiry_world.request(copy, "expire"))


def test_a_work_directory_that_missed_an_expiry(whole, after, tmp_path):
    """It follows later, but not over the next one."""
    copy = tmp_path / "copy"
    shutil.copytree(whole / "run", copy / "run")
    shutil.copytree(after / "data", copy / "data")
    day = Workdir(copy / "run").ctr("e_cdctr") / "2024-01-06"
    with pytest.raises(ValueError, match="or ids have expired, give the same"):
        artefacts.read_model(day, erasure_world.opened(copy))
    with pytest.raises(ValueError, match="finish the expiry"):
        erasure_world.write_users(copy)
        stages.run(
            expiry_world.request(copy, "erase", users=copy / "users.txt")
        )
    stages.run(expiry_world.request(copy, "expire"))
    artefacts.read_model(day, erasure_world.opened(copy))
    trees = [training_world.tree(p / "run") for p in (copy, after)]
    for tree in trees:
        tree.pop("expiries.json")
    assert trees[0] == trees[1]
    late = tmp_path / "late"
    shutil.copytree(whole / "run", late / "run")
    shutil.copytree(after / "data", late / "data")
    append(late / "data", expiry_world.tables(DAYS, DAYS + 4))
    expire(late / "data")
    with pytest.raises(ValueError, match="has missed an expiry"):
        runs.Run(
            late / "run",
            changes.Expiry(erasure_world.opened(late)),
            expiry_world.DATE,
        ).stale()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_killed_expiry_is_finished(
    whole, after, tmp_path, monkeypatch, share
):
    """Killed at any of its renames, the command given again ends alike."""
    places = [tmp_path / name for name in ("meant", "killed")]
    for place in places:
        shutil.copytree(whole, place)
    renames = erasure_world.counted_renames(monkeypatch)
    stages.run(expiry_world.request(places[0], "expire"))
    stop = int(share * next(renames))
    erasure_world.counted_renames(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        stages.run(expiry_world.request(places[1], "expire"))
    erasure_world.counted_renames(monkeypatch)
    stages.run(expiry_world.request(places[1], "expire"))
    for name in ("data", "run"):
        trees = [training_world.tree(place / name) for place in places]
        for tree in trees:
            tree.pop("expiries.json", None)
        assert trees[0] == trees[1]


def test_versions_are_made_anew(whole, tmp_path):
    """Ids that stay are answered for as before; others as unknown ones."""
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    stages.run(expiry_world.request(copy, "export"))
    version = copy / "run" / "export" / "20240106"
    shutil.copytree(version, tmp_path / "before")
    stages.run(expiry_world.request(copy, "expire"))
    users = ["user-000110", "user-000003", "user-999999"]
    answers = []
    for place in (tmp_path / "before", version):
        served = tf.saved_model.load(str(place)).signatures["serving_default"]
        sent = {}
        for name, of in served.structured_input_signature[1].items():
            shape = [3, *(1 if n is None else n for n in of.shape[1:])]
            sent[name] = tf.zeros(shape, of.dtype)
        sent["clicked"] = tf.fill([3, 1], tf.constant(-1, tf.int64))
        sent["user_id"] = tf.constant(users)
        sent["item_id"] = tf.fill([3], tf.constant(17, tf.int64))
        answers.append(served(**sent)["ctr"].numpy())
    assert answers[0][0] == answers[1][0]
    assert answers[0][1] != answers[0][2]
    assert answers[1][1] == answers[1][2] == answers[0][2]
    assert exports.stale(version.parent, erasure_world.opened(copy)) == []
    assert family.trace(version).trouble == ""
