import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import features, store, windows
from ecdctr_tf.input import id_space
from ecdctr_tf.transfer import historical, snapshots

MONTHS = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]
# Users of each month's snapshot, with the first number of their vectors.
SEEN = [
    {70: 1.0, 80: 2.0},
    {80: 4.0},
    {90: 8.0, 70: 16.0},
    {80: 32.0},
    {70: 64.0},
]


def vocabulary(ids=(90, 70, 80)):
    """Rows: 90 has 1, 70 has 2, 80 has 3."""
    return id_space.Vocabulary(features.TableSpec("user"), list(ids))


def day(name):
    return windows.day_number(name)


def publish_snapshot(tmp_path, month, users, spec="s"):
    """Publish the vectors of users, or of each table: name -> such."""
    of_tables = users if "user" in users else {"user": users}
    window = windows.Window(f"{month}-01", f"{month}-28")
    manifest = store.Manifest(
        "snapshot",
        window,
        spec=spec,
        ids={name: vocabulary().fingerprint() for name in of_tables},
    )
    tables = {}
    for name, ids in of_tables.items():
        vectors = np.array([[v, -v] for v in ids.values()], np.float32)
        tables[name] = snapshots.SnapshotTable(
            np.array(list(ids)), vectors, np.ones(len(ids), np.int64)
        )
    path = tmp_path / "tpm" / window.last
    with store.publish(path, manifest) as staging:
        snapshots.write(staging, tables)
    return path


def aggregated(tmp_path, count=3, months=5, **kwargs):
    """Publish snapshots, and a version of each; return versions, settings."""
    paths = [
        publish_snapshot(tmp_path, month, users)
        for month, users in zip(MONTHS[:months], SEEN, strict=False)
    ]
    settings = configs.HistoryConfig(snapshots=count, **kwargs)
    versions = [tmp_path / "historical" / path.name for path in paths]
    for i, version in enumerate(versions):
        historical.aggregate(paths[: i + 1], version, settings)
    return versions, settings


def load(versions, settings, space=None):
    return historical.load(versions, {"user": space or vocabulary()}, settings)


def looked_up(loaded, rows, days, slots=1):
    """Return the first numbers and flags of rows of days, `[B, K]`."""
    table = load(*loaded)["user"]
    vectors, found = table.lookup(
        tf.constant(rows), tf.constant([day(d) for d in days]), slots
    )
    np.testing.assert_array_equal(vectors[:, :, 0], -vectors[:, :, 1])
    return vectors[:, :, 0].numpy(), found.numpy()


VECTORS = np.array(
    [
        [[1.0, 0.0], [3.0, 0.0], [9.0, 9.0], [1.0, 1.0]],
        [[2.0, 0.0], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]],
        [[4.0, 8.0], [5.0, 2.0], [9.0, 9.0], [9.0, 9.0]],
    ],
    np.float32,
)
# The 9s are of absent ids and must not count.
PRESENT = np.array(
    [[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]],
    bool,
)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("last", [[4, 8], [5, 2], [0, 0], [1, 1]]),
        ("mean", [[7 / 3, 8 / 3], [4, 1], [0, 0], [1, 1]]),
        # Weights 1, 1/2, 1/4 from the newest: (4 + 1 + 1/4) / (7/4) = 3,
        # 8 / (7/4); (5 + 3/4) / (5/4), 2 / (5/4).
        ("decay", [[3, 32 / 7], [4.6, 1.6], [0, 0], [1, 1]]),
    ],
)
def test_combine_by_hand(aggregation, expected):
    got = historical.combine(VECTORS, PRESENT, aggregation, 0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got.dtype == np.float32


def test_combine_keeps_vectors_of_any_age():
    # A weight of 1e-15 is the only one there is.
    vectors = np.ones([6, 1, 2], np.float32)
    present = np.arange(6)[:, np.newaxis] == 0
    got = historical.combine(vectors, present, "decay", 1e-3)
    np.testing.assert_allclose(got, [[1, 1]], rtol=1e-6)


def test_combine_rejects_what_is_no_aggregation():
    for name in ("maen", "self_attention"):
        with pytest.raises(ValueError, match=f"last, mean or decay.*{name}"):
            historical.combine(VECTORS, PRESENT, name, 0.5)


def test_versions_are_seen_from_the_day_after_their_window(tmp_path):
    loaded = aggregated(tmp_path, count=1, months=2)
    days = ["2024-01-28", "2024-01-29", "2024-02-28", "2024-02-29"]
    values, found = looked_up(loaded, [3] * 4, days)
    assert values.ravel().tolist() == [0, 2, 2, 4]
    assert found.ravel().tolist() == [False, True, True, True]


def test_late_versions_are_seen_later(tmp_path):
    loaded = aggregated(tmp_path, count=1, months=2, lag=10)
    days = ["2024-01-29", "2024-02-07", "2024-02-08", "2024-03-10"]
    values, _ = looked_up(loaded, [3] * 4, days)
    assert values.ravel().tolist() == [0, 0, 2, 4]


def test_last_takes_the_newest_of_k_snapshots(tmp_path):
    loaded = aggregated(tmp_path, count=2, months=3, aggregation="last")
    # 70: in the third; 80: in the second; 90: in the third.
    values, _ = looked_up(loaded, [2, 3, 1], ["2024-03-29"] * 3)
    assert values.ravel().tolist() == [16, 4, 8]
    # A month before, 90 had no vector yet, and 70 only its first.
    values, found = looked_up(loaded, [2, 3, 1], ["2024-03-28"] * 3)
    assert values.ravel().tolist() == [1, 4, 0]
    assert found.ravel().tolist() == [True, True, False]


def test_k_limits_what_an_average_is_made_of(tmp_path):
    loaded = aggregated(tmp_path, count=3, aggregation="mean")
    # The last three: 70 has 16 and 64, 80 has 32, 90 has 8.
    values, _ = looked_up(loaded, [2, 3, 1], ["2024-06-01"] * 3)
    assert values.ravel().tolist() == [40, 32, 8]
    loaded = aggregated(tmp_path / "b", count=2, aggregation="mean")
    # The last two: 90 is in neither.
    values, found = looked_up(loaded, [2, 3, 1], ["2024-06-01"] * 3)
    assert values.ravel().tolist() == [64, 32, 0]
    assert found.ravel().tolist() == [True, True, False]


@pytest.mark.parametrize("aggregation", ["mean", "decay", "concat"])
def test_a_row_reads_the_same_whenever_its_history_was_made(
    tmp_path, aggregation
):
    """Snapshots and versions of later months change nothing for it."""
    days = ["2024-01-29", "2024-02-29", "2024-03-28", "2024-03-29"]
    (early, settings), late = (
        aggregated(tmp_path / str(months), 2, months, aggregation=aggregation)
        for months in (3, 5)
    )
    for row in (1, 2, 3):
        found = [
            looked_up(loaded, [row] * 4, days, slots=2)
            for loaded in ((early, settings), late)
        ]
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)
    if aggregation == "mean":
        # 80 has 2 in the first month, then the mean of that and 4.
        values, _ = looked_up(late, [3] * 4, days)
        assert values.ravel().tolist() == [2, 3, 3, 4]


def test_decay_weighs_by_age_among_snapshots(tmp_path):
    loaded = aggregated(tmp_path, 3, 3, aggregation="decay", decay=0.5)
    values, _ = looked_up(loaded, [2, 3], ["2024-03-29"] * 2)
    # 70: 16 and, two snapshots older, 1. 80: 4 and, one older, 2.
    expected = [(16 + 0.25) / 1.25, (0.5 * 4 + 0.25 * 2) / 0.75]
    np.testing.assert_allclose(values.ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("aggregation", historical.LEARNED)
def test_learned_aggregations_keep_the_snapshots(tmp_path, aggregation):
    loaded = aggregated(tmp_path, 2, 3, aggregation=aggregation)
    values, found = looked_up(loaded, [2, 3], ["2024-03-29"] * 2, slots=2)
    assert values.tolist() == [[16, 0], [0, 4]]
    assert found.tolist() == [[True, False], [False, True]]


def test_seen_in_gives_the_versions_that_rows_of_a_window_may_see():
    days = ["2024-01-28", "2024-02-28", "2024-03-28"]

    def seen(first, last, **kwargs):
        history = configs.HistoryConfig(snapshots=2, **kwargs)
        found = historical.seen_in(days, windows.Window(first, last), history)
        return [name[5:7] for name in found]

    assert seen("2024-01-01", "2024-01-28") == []
    assert seen("2024-01-28", "2024-02-28") == ["01"]
    assert seen("2024-02-29", "2024-02-29") == ["02"]
    assert seen("2024-02-28", "2024-03-29") == ["01", "02", "03"]
    assert seen("2024-03-29", "2024-03-29", lag=1) == ["02"]
    # Two slots of the first row, and what came since.
    concat = {"aggregation": "concat"}
    assert seen("2024-02-29", "2024-02-29", **concat) == ["01", "02"]
    assert seen("2024-03-29", "2024-04-29", **concat) == ["02", "03"]


def test_load_finds_rows_by_id_and_none_for_unknown(tmp_path):
    loaded = aggregated(tmp_path, count=1, months=1)
    rows = [0, 1, 2, 3, 4]
    values, _ = looked_up(loaded, rows, ["2024-05-01"] * 5)
    assert values.ravel().tolist() == [0, 0, 1, 2, 0]
    grown = vocabulary([90, 70, 80, 60])
    assert load(*loaded, grown)["user"].rows == 4


def test_load_refuses_another_id_space(tmp_path):
    loaded = aggregated(tmp_path, months=1)
    with pytest.raises(ValueError, match="another id space of table 'user'"):
        load(*loaded, vocabulary([70, 80, 90]))


def test_load_refuses_versions_made_with_other_settings(tmp_path):
    versions, settings = aggregated(tmp_path, months=2, count=2)
    for name, value in (("snapshots", 3), ("aggregation", "attention")):
        other = dataclasses.replace(settings, **{name: value})
        with pytest.raises(ValueError, match="was aggregated with"):
            load(versions, other)
    # A lag is of the look-up; the mean has no decay.
    load(versions, dataclasses.replace(settings, lag=3, decay=0.9))


def test_load_refuses_ids_that_the_vocabulary_lacks(tmp_path):
    paths = [
        publish_snapshot(tmp_path, MONTHS[0], {60: 1.0}),
        publish_snapshot(tmp_path, MONTHS[1], {70: 1.0}),
    ]
    target = tmp_path / "historical" / "2024-02-28"
    historical.aggregate(paths, target, configs.HistoryConfig())
    with pytest.raises(ValueError, match="ids of table 'user' that the data"):
        load([target], configs.HistoryConfig())


def test_load_refuses_a_damaged_artefact(tmp_path):
    versions, settings = aggregated(tmp_path, months=2)
    (data,) = versions[0].glob("historical.data*")
    content = bytearray(data.read_bytes())
    content[20] ^= 255
    data.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: its SHA-256"):
        load(versions, settings)
    data.unlink()
    with pytest.raises(FileNotFoundError, match="listed in manifest.json but"):
        load(versions, settings)


def test_a_table_that_older_snapshots_lack(tmp_path):
    """Its feature was added: the newer ones have it, in the newer version."""
    both = {"user": SEEN[1], "brand": {80: 6.0}}
    paths = [
        publish_snapshot(tmp_path, MONTHS[0], SEEN[0]),
        publish_snapshot(tmp_path, MONTHS[1], both, spec="newer"),
    ]
    versions = [tmp_path / "historical" / path.name for path in paths]
    config = configs.HistoryConfig()
    for i, version in enumerate(versions):
        historical.aggregate(paths[: i + 1], version, config)
    spaces = {"user": vocabulary(), "brand": vocabulary()}
    tables = historical.load(versions, spaces, config)
    rows, days = tf.constant([3, 3]), [day("2024-02-05"), day("2024-03-05")]
    for name, expected in (("user", [2, 3]), ("brand", [0, 6])):
        vectors, found = tables[name].lookup(rows, tf.constant(days), 1)
        assert vectors[:, 0, 0].numpy().tolist() == expected
        assert found[:, 0].numpy().tolist() == [name == "user", True]


def test_manifest_says_what_it_was_made_of(tmp_path):
    versions, _ = aggregated(tmp_path, count=2, months=3)
    manifest = store.read_manifest(versions[-1], "historical")
    # K snapshots: the first month's is not read.
    assert manifest.window == windows.Window("2024-02-01", "2024-03-28")
    parents = ["snapshot 2024-02-28", "snapshot 2024-03-28"]
    assert sorted(manifest.parents) == parents
    path = manifest.parents[parents[0]]["path"]
    assert (versions[-1] / path).resolve() == tmp_path / "tpm" / "2024-02-28"


def test_check_before_refuses_a_window_that_reaches_the_day(tmp_path):
    manifest = store.Manifest(
        "historical", windows.Window("2024-01-01", "2024-01-31")
    )
    historical.check_before(manifest, "2024-02-01", "h")
    for scored in ("2024-01-31", "2024-01-15"):
        with pytest.raises(ValueError, match="h has seen data up to 2024"):
            historical.check_before(manifest, scored, "h")


def test_a_version_that_has_seen_more_than_its_name_says_is_refused(tmp_path):
    (version,), settings = aggregated(tmp_path, months=1)
    earlier = version.rename(version.with_name("2024-01-02"))
    with pytest.raises(ValueError, match="2024-01-02 is the artefact of"):
        load([earlier], settings)
