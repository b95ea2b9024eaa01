"""Users who are erased: what goes, what stays, and what can go wrong."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from ecdctr_tf import artefacts, command_line, stages, store
from ecdctr_tf.erasure import (
    changes,
    cost,
    runs,
    searching,
    tables,
    users,
    verify,
)
from ecdctr_tf.erasure import stage as erasure_stage
from ecdctr_tf.export import saved_model, versions
from ecdctr_tf.input import data_directory, doctor, erased, streams
from ecdctr_tf.input.conversion import (
    converter,
    day_rows,
    erasing,
    toml_spec,
)
from ecdctr_tf.operation import family
from ecdctr_tf.training import fit
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from tests import conversion_world, erasure_world, trained, training_world

pytestmark = pytest.mark.usefixtures("eagerly")

ERASED = erasure_world.ERASED
DATE = "2024-02-01"
LINEAGE = f"assets.extra/{saved_model.LINEAGE}"


def erase(path, ids=ERASED, date=DATE):
    """Erase users from a data directory alone; return the rows that went."""
    with erasing.opened(path, "erasing users"):
        data = data_directory.DataDirectory(path)
        ids = pa.array(ids, erasing.table_of(data).dtype)
        return erasing.Erasing(data, ids, date).run()


def rows(path, domain, first_day=0) -> dict[str, np.ndarray]:
    """Return the columns of a domain, and the raw ids of users."""
    data = data_directory.DataDirectory(path)
    found = streams.read_columns(data, domain, data.window(domain))
    found["day"] = found["timestamp"] // 86_400 - erasure_world.FIRST_DAY
    found["raw"] = np.array([None, *data.id_spaces["user"].ids])[
        found["user_id"]
    ]
    items = np.array([*data.id_spaces["item"].ids, -1])
    places = found["clicked"] - 1
    found["clicked"] = np.where(places < 0, -1, items[places])
    late = found["day"] >= first_day
    return {name: column[late] for name, column in found.items()}


def of_others(found, ids=ERASED) -> dict[str, list]:
    """Return the rows of users who are not among the ids."""
    kept = ~np.isin(found["raw"].astype(str), list(ids))
    return {name: column[kept].tolist() for name, column in found.items()}


def without(logs, ids=ERASED):
    """Yield logs less the rows of users."""
    for domain, table in logs:
        kept = ~np.isin(table["user_id"].to_numpy(), list(ids))
        yield domain, table.filter(pa.array(kept))


def append(path, logs, given=None):
    return converter.append_tables(
        given or erasure_world.spec(), logs, path, progress=False
    )


# The data directory.


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    return erasure_world.converted(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def left(converted, tmp_path_factory):
    """The data directory after the erasure, and what went of each day."""
    path = tmp_path_factory.mktemp("left") / "data"
    shutil.copytree(converted, path)
    return path, erase(path)


@pytest.fixture
def data(left, tmp_path):
    """A copy of it, to change."""
    shutil.copytree(left[0], tmp_path / "data")
    return tmp_path / "data"


def test_rows_of_others_stay_as_they_are(converted, left):
    data, gone = left
    for domain in ("natural", "ads"):
        before, after = rows(converted, domain), rows(data, domain)
        assert of_others(before) == of_others(after)
        assert len(after["click"]) == len(of_others(before)["click"])
        lost = len(before["click"]) - len(after["click"])
        assert lost == sum(
            of.rows for (d, _), of in gone.items() if d == domain
        )
        assert lost > 100
    assert doctor.examine(data).findings == []


def test_rows_of_tables_stay_and_are_nobodys(converted, left):
    before = data_directory.DataDirectory(converted).id_spaces["user"]
    after = data_directory.DataDirectory(left[0]).id_spaces["user"]
    assert after.rows == before.rows
    assert not after.lookup(ERASED).any()
    there = [i for i in before.ids if i not in ERASED]
    np.testing.assert_array_equal(after.lookup(there), before.lookup(there))
    np.testing.assert_array_equal(
        after.unassigned, np.sort(before.lookup(ERASED))
    )


def test_no_file_of_the_data_holds_an_id(converted, left):
    data, _ = left
    wanted = searching.wanted(pa.array(ERASED))
    assert len(wanted) == 100
    held = [f.name for f in searching.files(converted) if holds(f, wanted)]
    assert {"events.arrow", "user.txt", "keys-user_id.npz"} == set(held)
    assert not [f for f in searching.files(data) if holds(f, wanted)]


def holds(file, ids):
    return searching.holds(file, ids) is not None


def test_later_days_are_those_of_logs_without_the_users(data, tmp_path):
    """What is counted of items stays; all else is as if they never came."""
    later = list(erasure_world.tables(6, 8))
    append(data, without(later))
    logs = without(erasure_world.tables())
    wanted = erasure_world.converted(tmp_path / "wanted", logs=logs)
    append(wanted, without(later))
    for domain in ("natural", "ads"):
        made, meant = (of_others(rows(p, domain, 6)) for p in (data, wanted))
        for name in ("raw", "click", "clicked", "active", "again", "fans"):
            assert made[name] == meant[name], name
    summary = erasure_json(data / "summary.json")
    for domain in ("natural", "ads"):
        for name in ("rows", "clicks", "users", "days"):
            meant = erasure_json(wanted / "summary.json")[domain][name]
            assert summary[domain][name] == meant


def erasure_json(path):
    return json.loads(path.read_text())


def test_a_user_who_comes_back_is_new(data):
    space = data_directory.DataDirectory(data).id_spaces["user"]
    append(data, erasure_world.tables(6, 7))
    found = rows(data, "natural", 6)
    back = np.isin(found["raw"].astype(str), ERASED)
    assert back.sum() > 20
    assert (found["user_id"][back] >= space.rows).all()
    assert not found["active"][back].any()
    assert (found["clicked"][back] < 0).mean() > 0.9
    assert doctor.examine(data).findings == []


@pytest.mark.long
def test_days_are_replaced_and_dropped_after_an_erasure(data):
    spec = erasure_world.spec()
    converter.replace_day(
        spec, erasure_world.tables(5, 6), data, "2024-01-06", progress=False
    )
    assert np.isin(ERASED, rows(data, "natural", 5)["raw"].astype(str)).any()
    converter.drop_days(spec, data, "2024-01-06", progress=False)
    assert not np.isin(ERASED, rows(data, "natural")["raw"].astype(str)).any()
    assert doctor.examine(data).findings == []


@pytest.mark.parametrize("file_format", ["blocks", "examples"])
def test_a_file_written_again_has_the_same_bytes(tmp_path, file_format):
    path = conversion_world.convert(
        tmp_path,
        [("natural", conversion_world.table(0))],
        file_format=file_format,
    )
    data = data_directory.DataDirectory(path)
    day = data.days("natural")[0]
    manifest = data.manifest("natural", day)
    (file,) = data.files("natural", day)
    columns = day_rows.columns(file, manifest, data.spec)
    again = tmp_path / "again"
    data_directory.FORMATS[file_format].write(again, columns, data.spec)
    assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"negatives": {"natural": {"per_click": 2}}},
        pytest.param({"min_count": {"user": 3}}, marks=pytest.mark.long),
    ],
    ids=["clicks only", "min_count"],
)
def test_state_of_other_conversions(tmp_path, changes):
    spec = erasure_world.spec(**changes)
    only = "natural" if "negatives" in changes else ""
    data = erasure_world.converted(
        tmp_path / "data", spec, logs=erasure_world.tables(clicks_only=only)
    )
    erase(data)
    wanted = searching.wanted(pa.array(ERASED))
    assert not [f for f in searching.files(data) if holds(f, wanted)]
    later = erasure_world.tables(6, 7, clicks_only=only)
    append(data, without(later), spec)
    summary = erasure_json(data / "summary.json")
    for domain in ("natural", "ads"):
        there = data_directory.DataDirectory(data)
        held = there.rows(domain, there.window(domain))
        assert summary[domain]["rows"] == held
    assert doctor.examine(data).findings == []


@pytest.mark.long
def test_a_domain_that_is_behind(tmp_path):
    """Ads of later days come after the erasure, and know nothing of them."""
    logs = list(erasure_world.tables())
    early = [
        (domain, table)
        for domain, table in logs
        if domain == "natural" or conversion_world.day_of(table)[0] < 4
    ]
    late = [pair for pair in logs if not any(pair[1] is t for _, t in early)]
    data = erasure_world.converted(tmp_path / "data", logs=early)
    erase(data)
    append(data, without(late))
    meant = erasure_world.converted(tmp_path / "meant", logs=without(logs))
    made, wanted = (of_others(rows(p, "ads", 4)) for p in (data, meant))
    for name in ("raw", "clicked", "active", "again"):
        assert made[name] == wanted[name], name


def test_tables_that_cannot_be_erased_from(tmp_path):
    hashed = {"name": "user", "ids": "hashing", "buckets": 50}
    fields = {"tables": [hashed, {"name": "item"}]}
    data = erasure_world.converted(
        tmp_path / "hashed",
        erasure_world.spec(**fields),
        logs=integers(erasure_world.tables()),
    )
    with pytest.raises(ValueError, match="are hashed"):
        erase(data, [7])
    shared = toml_spec.from_dict(
        {
            "tables": [{"name": "user", "dtype": "string"}, {"name": "item"}],
            "features": [
                {"name": "user_id", "table": "user", "basic": True},
                {"name": "item_id", "table": "item", "basic": True},
                {"name": "friend", "table": "user", "column": "user_id"},
            ],
        }
    )
    data = erasure_world.converted(tmp_path / "shared", shared)
    with pytest.raises(ValueError, match="also holds the ids of friend"):
        erase(data)


def integers(logs):
    for domain, table in logs:
        numbers = [
            int(i.removeprefix("user-")) for i in table["user_id"].to_pylist()
        ]
        yield domain, table.set_column(0, "user_id", [numbers])


# The file of users.


def test_the_file_of_users(tmp_path, converted):
    table = erasing.table_of(data_directory.DataDirectory(converted))
    file = tmp_path / "users.txt"
    with pytest.raises(FileNotFoundError, match="There is no file"):
        users.read(file, table)
    file.write_text("\n\n")
    with pytest.raises(ValueError, match="It holds none"):
        users.read(file, table)
    file.write_bytes(b"a\xff\n")
    with pytest.raises(ValueError, match="should be UTF-8"):
        users.read(file, table)
    file.write_bytes("ü b\r\na\n\na\n".encode())
    assert users.read(file, table).to_pylist() == ["ü b", "a"]


# Bytes.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"user-000021", True),
        (b'{"id": "user-000021"}', True),
        (b"user-0000215 user-00002", False),
        (b"xuser-000021", False),
        (b"\x0a\x0buser-000021\x12", True),
    ],
)
def test_an_id_is_told_from_one_that_it_begins(tmp_path, text, found):
    (tmp_path / "file").write_bytes(text)
    assert holds(tmp_path / "file", pa.array(["user-000021"])) == found


# A run.


def test_a_run_whose_users_are_numbers(tmp_path, monkeypatch):
    """Without a state of `convert`; the AUC is measured in longer tests."""
    monkeypatch.setattr(cost, "auc", lambda *of: {})
    data = training_world.small_data(tmp_path / "data")
    run = trained.pretrained(data, tmp_path / "run")
    trained.train(data, run, trained.days(5, 5))
    erasure_world.write_users(tmp_path, [*range(6), 10**18])
    stages.run(erasure_world.request(tmp_path, "erase"))
    data = erasure_world.opened(tmp_path)
    assert data.id_spaces["user"].unassigned.tolist() == [*range(1, 7)]
    places = runs.places(tmp_path / "run")
    anew = [p for p, m in places.items() if m.metrics.get(changes.ERASED)]
    assert len(anew) == len(places) == 4
    for place, manifest in places.items():
        store.verify(place, manifest.kind)
        for role in manifest.parents:
            artefacts.parent_path(place, manifest, role)
    artefacts.read_model(run.ctr("e_cdctr") / trained.day(5), data)
    assert doctor.examine(tmp_path / "data").findings == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of a few rows, and a version with nothing but its lineage."""
    place = tmp_path_factory.mktemp("small")
    data = training_world.small_data(place / "data")
    run = trained.pretrained(data, place / "run")
    trained.train(data, run, trained.days(5, 5))
    erasure_world.write_users(place, range(6))
    version = run.path / "export/20240105"
    window = trained.days(5, 5)[0]
    ids = trained.manifest(run, 5).ids
    manifest = store.Manifest(saved_model.KIND, window, ids=ids)
    artefact = run.ctr("e_cdctr") / trained.day(5)
    manifest.parents = {"artefact": store.parent(artefact, version)}
    with store.publish(version, manifest) as staging:
        (staging / LINEAGE).parent.mkdir()
        (staging / LINEAGE).write_text("{}")
    store.write_text(run.path / erasure_stage.RECORD, "[]")
    return place


@pytest.mark.parametrize(
    "name",
    [
        "tpm/2024-01-02/snapshot.index",
        "e_cdctr/cpm/2024-01-04/manifest.json",
        "e_cdctr/ctr/2024-01-05/scores.npz",
        f"export/20240105/{LINEAGE}",
        "export/20240105/manifest.json",
        erasure_stage.RECORD,
    ],
)
def test_nothing_is_erased_where_something_is_damaged(small, tmp_path, name):
    """Otherwise the data would be without users whom artefacts still know."""
    shutil.copytree(small, tmp_path / "place")
    file = tmp_path / "place/run" / name
    file.write_bytes(file.read_bytes()[1:])
    before = training_world.tree(tmp_path / "place")
    for dry_run in (True, False):
        if dry_run and name == erasure_stage.RECORD:
            continue  # It is only added to.
        request = erasure_world.request(
            tmp_path / "place", "erase", dry_run=dry_run
        )
        with pytest.raises((FileNotFoundError, ValueError)) as raised:
            stages.run(request)
        assert str(file) in command_line.one_line(raised.value)
        assert training_world.tree(tmp_path / "place") == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Data, a run with two scored days or more, and an exported version."""
    place = tmp_path_factory.mktemp("whole")
    erasure_world.converted(place / "data")
    erasure_world.write_users(place, [*ERASED, "nobody-of-them"])
    for stage in ("tpm", "aggregate", "cpm", "ctr", "export"):
        stages.run(erasure_world.request(place, stage))
    return place


@pytest.fixture(scope="module")
def after(whole, tmp_path_factory):
    """The same after the erasure."""
    place = tmp_path_factory.mktemp("after") / "copy"
    shutil.copytree(whole, place)
    stages.run(erasure_world.request(place, "erase"))
    return place


@pytest.mark.long
def test_nothing_is_left_and_others_are_predicted_as_before(whole, after):
    data = erasure_world.opened(after)
    ids = pa.array(ERASED)
    places = [after / "run", after / "run" / "export"]
    for outcome in verify.run(data, *places, ids):
        assert outcome.found == [], outcome
    of = erasure_json(after / "run" / "erasures.json")[0]
    assert (of["ids"], of["known"], of["versions"]) == (101, 100, 1)
    (auc,) = of["auc"].values()
    assert auc[0] == pytest.approx(auc[1], abs=1e-6)


@pytest.mark.long
def test_the_verifier_finds_users_that_are_there(whole):
    data = erasure_world.opened(whole)
    places = [whole / "run", whole / "run" / "export"]
    found = verify.run(data, *places, pa.array(ERASED))
    left = {outcome.what for outcome in found if outcome.found}
    assert {"bytes", "vocabulary", "exports"} <= left


@pytest.mark.long
def test_table_rows_are_zero_in_all_that_was_learned(whole, after):
    space = erasure_world.opened(after).id_spaces["user"]
    seen = set()
    for place in runs.places(after / "run"):
        old = whole / place.relative_to(after.resolve())
        for prefix in tables.checkpoints(place):
            before = checkpoint.read(old / prefix)
            now = checkpoint.read(place / prefix)
            for name in tables.weights(now, "user"):
                seen.add(prefix)
                # Some of the users came after the day.
                places = np.arange(len(now[name]))
                gone = np.isin(places, space.unassigned)
                others = places[~gone]
                assert before[name][gone].any()
                assert not now[name][gone].any()
                np.testing.assert_array_equal(
                    before[name][others], now[name][others]
                )
            if prefix in ("snapshot", "historical"):
                seen.add(prefix)
                assert set(now["user/ids"]) < set(before["user/ids"])
    assert seen == {"weights", "snapshot", "historical"}


@pytest.mark.long
def test_the_state_of_optimizers_is_found_by_table(whole):
    run = Workdir(whole / "run")
    path = run.ctr("e_cdctr") / store.dated(run.ctr("e_cdctr"))[-1]
    model = opened_level(whole, path)
    optimizer = model.table_optimizer
    _, variables = model.split_variables()
    arrays = {n: v.numpy() for n, v in fit.optimizer_state(model).items()}
    names = dict(zip(model.embedding.tables, variables, strict=True))
    assert list(names) == sorted(names)
    sizes = {table: v.shape[0] for table, v in names.items()}
    found = tables.states(arrays, sizes)
    for table, variable in names.items():
        meant = [v.numpy() for v in optimizer.state_of(variable)]
        assert len(found[table]) == len(meant) > 0
        for name, value in zip(found[table], meant, strict=True):
            np.testing.assert_array_equal(arrays[name], value)


def opened_level(place, path):
    request = erasure_world.request(place, "ctr")
    level = next(request.levels(erasure_world.opened(place), "ctr"))
    manifest = store.read_manifest(path, "ctr")
    level.look_up(manifest.window, None)
    level.open(path)
    return level.model


@pytest.mark.long
def test_scores_and_parents(whole, after):
    rows = erasure_world.opened(after).id_spaces["user"].unassigned
    run = Workdir(after / "run")
    days = store.dated(run.ctr("e_cdctr"))
    for day in days:
        old = artefacts.read_scores(whole / "run" / "e_cdctr" / "ctr" / day)
        new = artefacts.read_scores(run.ctr("e_cdctr") / day)
        kept = ~np.isin(old["user"], rows)
        assert kept.any() and not kept.all()
        np.testing.assert_array_equal(old["ctr"][kept], new["ctr"])
    version = versions.numbers(after / "run" / "export")[-1]
    tree = family.trace(after / "run" / "export" / str(version))
    left = [tree]
    while left:
        member = left.pop()
        assert member.trouble == ""
        left += member.parents


@pytest.mark.long
def test_days_go_on(after, tmp_path):
    shutil.copytree(after, tmp_path / "copy")
    place = tmp_path / "copy"
    append(place / "data", erasure_world.tables(6, 7))
    before = versions.numbers(place / "run" / "export")
    for stage in ("ctr", "export"):
        stages.run(erasure_world.request(place, stage))
    assert versions.numbers(place / "run" / "export") > before


@pytest.mark.long
@pytest.mark.parametrize("share", [0.02, 0.2, 0.35, 0.5, 0.65, 0.8, 0.98])
def test_a_killed_erasure_is_finished(whole, tmp_path, monkeypatch, share):
    """Killed at any of its renames, the command given again ends alike."""
    monkeypatch.setattr(cost, "auc", lambda *of: {})
    monkeypatch.setattr(verify, "run", lambda *of: [])
    places = [tmp_path / name for name in ("meant", "killed")]
    for place in places:
        shutil.copytree(whole, place)
        shutil.rmtree(place / "run" / "export")
    meant, killed = places
    renames = erasure_world.counted_renames(monkeypatch)
    stages.run(erasure_world.request(meant, "erase"))
    erasure_world.counted_renames(monkeypatch, int(share * next(renames)))
    with pytest.raises(KeyboardInterrupt):
        stages.run(erasure_world.request(killed, "erase"))
    erasure_world.counted_renames(monkeypatch)
    stages.run(erasure_world.request(killed, "erase"))
    for name in ("data", "run"):
        trees = [training_world.tree(place / name) for place in places]
        for tree in trees:
            tree.pop("erasures.json", None)
        assert trees[0] == trees[1]


@pytest.mark.long
def test_other_stages_wait_for_an_erasure(whole, tmp_path):
    shutil.copytree(whole / "run", tmp_path / "run")
    (tmp_path / "run" / runs.PENDING).mkdir()
    request = erasure_world.request(whole, "monitor", workdir=tmp_path / "run")
    with pytest.raises(ValueError, match="Ids are being taken out"):
        stages.run(request)


@pytest.mark.long
def test_a_second_work_directory_is_erased_from_later(whole, tmp_path):
    """Of the same data directory, from which the users are gone already."""
    shutil.copytree(whole, tmp_path / "copy")
    place = tmp_path / "copy"
    shutil.rmtree(place / "run" / "export")
    erase(place / "data")
    assert len(erased.load(place / "data")) == 1
    newest = Workdir(place / "run").ctr("e_cdctr") / "2024-01-06"
    with pytest.raises(ValueError, match="If users were erased"):
        artefacts.read_model(newest, erasure_world.opened(place))
    stages.run(erasure_world.request(place, "erase"))
    assert erasure_json(place / "run" / "erasures.json")[0]["artefacts"] > 3


@pytest.mark.long
def test_a_dry_run_changes_nothing(whole, capsys):
    before = training_world.tree(whole)
    stages.run(erasure_world.request(whole, "erase", dry_run=True))
    assert training_world.tree(whole) == before
    said = capsys.readouterr().out
    assert "100 users would be erased; 1 of 101 ids are not known." in said
