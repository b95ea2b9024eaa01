"""What is counted of the inputs of a day, and how days are compared."""

import math

import numpy as np
import pytest

from ecdctr_tf import artefacts, config, features, kinds, store
from ecdctr_tf.input import streams
from ecdctr_tf.monitoring import bins, drift
from ecdctr_tf.results import coverage, inputs, models
from tests import training_world
from tests.trained import CONFIG, copy, day, days, manifest, pretrained, train

SPEC = features.DataSpec(
    tables=(features.TableSpec("user"), features.TableSpec("item")),
    features=(
        features.FeatureSpec("user_id", "id", "user", "user"),
        features.FeatureSpec("item_id", "id", "item", "item"),
        features.FeatureSpec("price", "dense"),
        features.FeatureSpec("size", "vector", length=2),
        features.FeatureSpec("tags", "ids", "item", max_length=3),
    ),
)
KIND = {feature.name: feature for feature in kinds.of(SPEC)}
LIMITS = config.MonitoringConfig()


def counted(name, *batches, **options):
    counter = bins.Counter(KIND[name], **options)
    for batch in batches:
        counter.add({name: np.asarray(batch)})
    return counter


def test_numbers_have_bins_between_the_quantiles_of_the_first_batch():
    first = np.arange(100, dtype=np.float32)
    later = np.array([-5, 15, 1000, np.nan, np.inf], np.float32)
    counter = counted("price", first, later)
    np.testing.assert_allclose(counter.edges, np.arange(1, 10) * 9.9, 1e-6)
    assert counter.seen().bins == [1, 11, 11, *[10] * 7, 12]


def test_numbers_that_are_missing_decide_no_bins():
    nothing = np.full(4, np.nan, np.float32)
    counter = counted("price", nothing)
    assert counter.edges is None
    assert counter.seen() == bins.Seen([4])
    counter.add({"price": np.array([1.0], np.float32)})
    assert counter.edges == [1.0]
    assert counter.seen().bins == [4, 0, 1]


def test_bins_of_earlier_days_are_kept():
    values = np.array([0.0, 1.5, 7.0], np.float32)
    counter = counted("price", values, edges=[1.0, 2.0])
    assert counter.edges == [1.0, 2.0]
    assert counter.seen().bins == [0, 1, 1, 1]


def test_vectors_are_measured_by_their_length_and_lists_too():
    vectors = np.array([[3, 4], [np.nan, 1]], np.float32)
    assert counted("size", vectors, edges=[5.0]).seen().bins == [1, 0, 1]
    lists = np.array([[1, 2, -1], [-1, -1, -1]], np.int32)
    assert counted("tags", lists, edges=[1.0]).seen().bins == [0, 1, 1]


def test_an_id_has_one_bin_of_33_wherever_it_occurs():
    rows = np.arange(1000, dtype=np.int32)
    together = counted("item_id", rows).seen().bins
    assert len(together) == 33 and together[0] == 0
    assert sum(together) == 1000 and min(together[1:]) > 20
    parted = counted("item_id", rows[:300], rows[300:]).seen().bins
    assert parted == together


def test_ids_that_a_model_does_not_know_are_new():
    rows = np.array([0, 1, 5, 6, 9], np.int32)  # Row 0 is of unknown ids.
    seen = counted("item_id", rows, known=(1, 6)).seen()
    assert seen.new == 3 / 5
    lists = np.array([[1, 7, -1], [-1, -1, -1]], np.int32)
    assert counted("tags", lists, known=(1, 6)).seen().new == 1 / 2
    none = np.full([2, 3], -1, np.int32)
    assert counted("tags", none, known=(1, 6)).seen().new is None


def test_ids_beyond_the_historical_table_have_no_vector():
    held = np.array([False, True, False])
    rows = np.array([0, 1, 1, 2, 3, 900], np.int32)
    seen = counted("user_id", rows, historical=held).seen()
    assert seen.historical == 2 / 6


def test_psi_by_hand():
    expected = -0.2 * math.log(0.5 / 0.7) + 0.2 * math.log(0.5 / 0.3)
    assert drift.psi([1, 1], [3, 1]) == pytest.approx(expected)
    assert drift.psi([3, 1], [1, 1]) == pytest.approx(expected)
    assert drift.psi([5, 0, 3], [5, 0, 3]) == 0
    assert drift.psi([1, 1, 0], [3, 1]) == drift.psi([1, 1, 0], [3, 1, 0])


def test_a_day_is_compared_with_all_days_before_together():
    before = [
        bins.Seen([0, 10, 0], 0.0, 1.0),
        bins.Seen([0, 0, 10], 0.5, None),
        bins.Seen([0, 10], None, 0.5),
    ]
    found = drift.compare(bins.Seen([0, 1, 3], 0.25), before)
    assert found["psi"] == drift.psi([0, 1, 3], [0, 20, 10])
    others = [[0, 10, 10], [0, 20], [0, 10, 10]]
    usual = [
        drift.psi(seen.bins, other)
        for seen, other in zip(before, others, strict=True)
    ]
    assert found["psi_before"] == max(usual)
    assert (found["new"], found["new_before"]) == (0.25, 0.25)
    assert (found["historical"], found["historical_before"]) == (None, 0.75)


def test_a_first_day_has_nothing_to_be_compared_with():
    found = drift.compare(bins.Seen([0, 1], 0.5), [])
    assert found.pop("new") == 0.5
    assert set(found.values()) == {None}


def test_warnings_say_what_is_unusual():
    usual = {
        **{"psi": 0.1, "psi_before": 0.1, "new": 0.1, "new_before": 0.1},
        **{"historical": 0.9, "historical_before": 0.9},
    }
    found = {
        "as_ever": usual,
        "noisy": {**usual, "psi": 0.9, "psi_before": 0.5},
        "price": {**usual, "psi": 0.4},
        "item_id": {**usual, "new": 0.31},
        "user_id": {**usual, "historical": 0.75},
        "clicked": {**usual, "new": None, "historical": None},
    }
    assert drift.warnings(found, 3, LIMITS) == [
        "the values of price are distributed otherwise (PSI 0.40, at most "
        "0.10 before)",
        "31% of the ids of item_id are new, 10% before",
        "75% of the rows know user_id's history, 90% before",
    ]
    assert drift.warnings(found, 2, LIMITS) == []
    wide = config.MonitoringConfig(psi=1.0, new_ids=0.5, coverage=0.5)
    assert drift.warnings(found, 3, wide) == []


def test_a_record_keeps_the_newest_days():
    record = drift.Record("dense", [1.0])
    for number in range(1, 5):
        seen = bins.Seen([0, number, 0], 0.5)
        record = record.after(day(number), seen, most=3)
    assert list(record.days) == [day(2), day(3), day(4)]
    assert drift.Record.from_dict(record.to_dict()) == record


# Days of the small world, as an A-CTR scores them.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prices of the last day are others."""

    def price(domain, day, random):
        return random + 5 * (domain == "ads" and day == "2024-01-08")

    path = tmp_path_factory.mktemp("logs") / "data"
    return training_world.small_data(path, price=price)


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory):
    return pretrained(data, tmp_path_factory.mktemp("begun") / "run")


@pytest.fixture(scope="module")
def watched(data, begun, tmp_path_factory):
    """Days 5 to 8 of E-CDCTR."""
    run = copy(begun, tmp_path_factory.mktemp("watched") / "run")
    return train(data, run, days(5, 8))


@pytest.mark.usefixtures("eagerly")
def test_a_day_says_how_its_inputs_differ(watched, data, caplog):
    found = manifest(watched, 8).metrics["inputs"]
    assert found["days"] == [day(5), day(6), day(7)]
    assert found["features"]["price"]["psi"] > 1
    assert any("of price are" in said for said in found["warnings"])
    assert manifest(watched, 5).metrics["inputs"]["days"] == []
    # Counted without any of it.
    rows = streams.read_columns(data, "ads", days(8, 8)[0])
    known = data.table_rows(day(7))
    held = coverage.held(watched.historical, [day(8)], data, CONFIG.history)
    for role in ("user", "item"):
        of = found["features"][f"{role}_id"]
        ids = rows[f"{role}_id"]
        assert of["table"] == role
        assert of["new"] == np.mean(ids >= known[role])
        assert of["historical"] == np.isin(ids, held[day(8)][role]).mean()


@pytest.mark.usefixtures("eagerly")
def test_days_before_are_compared_with_wherever_a_command_ended(
    watched, data, begun, tmp_path
):
    run = copy(begun, tmp_path / "run")
    for part in (days(5, 6), days(7, 8)):
        train(data, run, part)
    for number in range(5, 9):
        files = [
            (of.ctr("e_cdctr") / day(number) / artefacts.INPUTS).read_bytes()
            for of in (watched, run)
        ]
        assert files[0] == files[1]
        inputs = [
            manifest(of, number).metrics["inputs"] for of in (watched, run)
        ]
        assert inputs[0] == inputs[1]


@pytest.mark.usefixtures("eagerly")
def test_watching_changes_neither_scores_nor_weights(
    watched, data, begun, tmp_path
):
    unwatched = config.override(CONFIG, ["monitoring.days=0"])
    run = train(data, copy(begun, tmp_path / "run"), days(5, 6), unwatched)
    found = [manifest(of, 6) for of in (watched, run)]
    for name in (artefacts.SCORES, f"{artefacts.WEIGHTS}.index"):
        assert found[0].files[name] == found[1].files[name]
    for file in found[1].files:
        if file.startswith(artefacts.WEIGHTS):
            assert found[0].files[file] == found[1].files[file]
    assert "inputs" not in found[1].metrics
    assert artefacts.INPUTS not in found[1].files


@pytest.mark.usefixtures("eagerly")
def test_damaged_counts_are_an_error(watched, data, tmp_path):
    run = copy(watched, tmp_path / "run")
    newest = run.ctr("e_cdctr") / day(8)
    store.remove(newest)
    file = run.ctr("e_cdctr") / day(7) / artefacts.INPUTS
    file.write_text(file.read_text().replace("0", "1", 1))
    with pytest.raises(ValueError, match="inputs.json is damaged"):
        train(data, run, days(8, 8))


def test_the_page_has_the_newest_day(watched):
    found, _ = models.of_workdirs([watched], CONFIG)
    [model] = [model for model in found if model.name == models.MAIN]
    [section] = inputs.sections(model)
    assert section.title == f"Inputs of {day(8)}"
    assert [row[0] for row in section.rows] == ["user_id", "item_id", "price"]
    assert "Look into: the values of price" in section.text
