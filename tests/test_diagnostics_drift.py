"""Snapshots that are turned, the same, or unrelated."""

import numpy as np
import pytest

from ecdctr_tf import store, windows
from ecdctr_tf.diagnostics import snapshot_drift
from ecdctr_tf.transfer import snapshots


def table(vectors, ids=None):
    ids = np.arange(len(vectors)) if ids is None else np.asarray(ids)
    counts = np.ones(len(vectors), np.int64)
    return snapshots.SnapshotTable(ids, vectors.astype(np.float32), counts)


def random(seed, count=500, width=6):
    return np.random.default_rng(seed).normal(size=(count, width))


def rotation(seed=1, width=6):
    return np.linalg.qr(random(seed, width, width))[0]


def test_align_finds_the_rotation():
    old, turn = random(0), rotation()
    np.testing.assert_allclose(snapshot_drift.align(old, old @ turn), turn)


def test_a_turned_snapshot_has_not_moved_after_alignment():
    old = random(0)
    found = snapshot_drift.drift(table(old), table(old @ rotation()))
    assert found["before"] > 0.5
    assert found["after"] < 1e-6
    assert (found["ids"], found["common_share"]) == (500, 1.0)


def test_alignment_does_not_hide_what_really_moved():
    old = random(0)
    # Noise of a tenth of the length of a vector.
    new = old @ rotation() + 0.1 * random(2)
    found = snapshot_drift.drift(table(old), table(new))
    assert found["after"] == pytest.approx(0.1, abs=0.01)
    # Scaling is no turn: ||a - 2a|| / ||2a||.
    found = snapshot_drift.drift(table(old), table(2 * old))
    assert found["after"] == pytest.approx(0.5)


def test_unrelated_snapshots_stay_apart():
    found = snapshot_drift.drift(table(random(0)), table(random(1)))
    assert found["before"] == pytest.approx(2**0.5, abs=0.05)
    assert found["after"] > 1


def test_ids_are_matched_whatever_their_order():
    old = random(0, 5)
    ids = np.array([b"e", b"b", b"z", b"a"], object)
    new = np.concatenate([old[[4, 1]], 9 + random(3, 1), old[[0]]])
    first = table(old, np.array([b"a", b"b", b"c", b"d", b"e"], object))
    found = snapshot_drift.drift(first, table(new, ids))
    assert found["ids"] == 3 and found["common_share"] == 0.75
    assert found["before"] < 1e-6


def test_no_common_ids_have_no_drift():
    old = table(random(0, 4))
    assert snapshot_drift.drift(old, table(random(1, 4), [7, 8, 9, 10])) is None


def test_other_widths_raise():
    with pytest.raises(ValueError, match="same width. Received: 6 and 5"):
        snapshot_drift.drift(table(random(0)), table(random(0, 500, 5)))


def publish(directory, day, tables):
    manifest = store.Manifest("snapshot", windows.Window(day, day))
    with store.publish(directory / day, manifest) as staging:
        snapshots.write(staging, tables)


def test_measure_goes_from_snapshot_to_snapshot(tmp_path):
    assert snapshot_drift.measure(tmp_path / "tpm") == {}
    old = random(0)
    publish(tmp_path / "tpm", "2024-01-31", {"user": table(old)})
    assert snapshot_drift.measure(tmp_path / "tpm") == {}
    turned = {"user": table(old @ rotation()), "item": table(old)}
    publish(tmp_path / "tpm", "2024-02-29", turned)
    same = {"user": turned["user"], "item": table(random(4))}
    publish(tmp_path / "tpm", "2024-03-31", same)
    found = snapshot_drift.measure(tmp_path / "tpm")
    assert [move["new"] for move in found["user"]] == [
        "2024-02-29",
        "2024-03-31",
    ]
    assert found["user"][0]["before"] > 0.5 > 1e-6 > found["user"][0]["after"]
    assert found["user"][1]["before"] == 0
    (item,) = found["item"]
    assert item["old"] == "2024-02-29" and item["after"] > 1
