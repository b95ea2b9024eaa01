"""From raw log files to a served prediction, as a user would go."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import store
from ecdctr_tf.input import data_directory, id_space


@pytest.fixture
def place(finished_world):
    """Raw logs, converted and trained by the two commands."""
    return finished_world


def test_the_raw_rows_are_all_there(place):
    data = data_directory.DataDirectory(place / "data")
    assert data.rows("natural", data.window("natural")) == 12 * 400
    assert data.rows("ads", data.window("ads")) == 5 * 80


def test_every_level_is_published(place):
    run = place / "run"
    snapshots = ["2024-01-03", "2024-01-06", "2024-01-09"]
    assert store.dated(run / "tpm") == snapshots
    assert store.dated(run / "historical") == snapshots
    assert store.dated(run / "e_cdctr/cpm") == ["2024-01-09"]
    scored = ["2024-01-10", "2024-01-11", "2024-01-12"]
    for model in ("ads_only", "cpm_finetune", "e_cdctr"):
        assert store.dated(run / model / "ctr") == scored
    assert not list((run / ".progress").rglob("manifest.json"))


def test_natural_levels_are_scored_before_they_are_trained(place):
    """On the first day of each window, by the run before; 400 rows a day."""
    first, second = (
        store.read_manifest(place / "run/tpm" / day, "snapshot").metrics
        for day in ("2024-01-03", "2024-01-06")
    )
    assert first["natural"] == {}
    assert second["natural"]["rows"] == 400
    assert 0 < second["natural"]["auc"] < 1


def test_a_daily_update_costs_the_rows_of_the_day(place):
    """80 rows of ads a day; the first day also catches up on two."""
    for day, rows in (("2024-01-10", 240), ("2024-01-11", 320)):
        path = place / "run/e_cdctr/ctr" / day
        assert store.read_manifest(path, "ctr").rows == rows


def test_the_a_ctr_tells_where_its_weights_come_from(place):
    run = place / "run"
    report = json.loads(
        (run / "e_cdctr/ctr/2024-01-10/restore.json").read_text()
    )
    statuses = {v["name"]: v["status"] for v in report["variables"]}
    assert report["source"] == "e_cdctr/cpm/2024-01-09"
    assert set(statuses.values()) <= {"restored", "remapped"}
    assert "embedding/tables/user/embeddings" in statuses
    # Days that go on from the day before did not start from a CPM.
    assert not (run / "e_cdctr/ctr/2024-01-11/restore.json").exists()
    assert not (run / "ads_only/ctr/2024-01-10/restore.json").exists()


def test_the_report_compares_the_models(place):
    summary = json.loads((place / "run/report/summary.json").read_text())
    # In the order of the table of models.
    expected = ["oracle", "e_cdctr", "ads_only", "cpm_finetune"]
    assert list(summary["models"]) == expected
    aucs = [
        store.read_manifest(place / "run/e_cdctr/ctr" / day, "ctr").metrics[
            "auc"
        ]
        for day in ("2024-01-10", "2024-01-11", "2024-01-12")
    ]
    found = summary["models"]["e_cdctr"]["auc"]
    assert found == pytest.approx(np.mean(aucs), abs=1e-9)
    assert "<svg" in (place / "run/report/index.html").read_text()


def test_the_served_model_scores_raw_rows_as_it_was_scored(place):
    """The export of 01-12 is the model that 01-12 was trained on last.

    Scored here by its weights through the parsed rows, there by raw ids.
    """
    from ecdctr_tf import artefacts, scoring
    from ecdctr_tf.windows import Window

    data = data_directory.DataDirectory(place / "data")
    day = Window("2024-01-12", "2024-01-12")
    model = artefacts.read_model(place / "run/e_cdctr/ctr/2024-01-12", data)
    expected = scoring.score(model, data, day)["ctr"]

    served = tf.saved_model.load(str(place / "run/export/20240112"))
    found = served.signatures["serving_default"](**_raw(data, day))["ctr"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _raw(data, day) -> dict:
    """Return the inputs of the served model for the rows of a day of ads."""
    from ecdctr_tf.input import streams

    columns = streams.read_columns(data, "ads", day)
    spaces = id_space.load(data.spec.tables, data.path)
    inputs = {}
    for feature in data.spec.features:
        column = columns[feature.name]
        if feature.kind == "dense":
            inputs[feature.name] = tf.constant(column)
            continue
        known = spaces[feature.table].ids
        buckets = data.spec.table(feature.table).buckets
        raw = np.where(column >= buckets, known[column - buckets], -1)
        inputs[feature.name] = tf.constant(raw, tf.int64)
    return inputs
