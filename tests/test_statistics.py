"""Statistics of numbers: what levels learn them from, and where they go."""

import json

import numpy as np
import pytest

from ecdctr_tf import artefacts, features, model_table
from ecdctr_tf import config as configs
from ecdctr_tf.input import streams
from ecdctr_tf.kinds import dense
from ecdctr_tf.training import daily, natural, statistics
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import checkpoint
from ecdctr_tf.windows import Window
from tests import training_world

pytestmark = pytest.mark.usefixtures("eagerly")

CONFIG = configs.override(training_world.SMALL_CONFIG, ["model.history=false"])
NAN, INF = np.nan, np.inf


def train_cpm(data, run, first, last, model="e_cdctr"):
    row = model_table.model(model)
    config = configs.of_model(CONFIG, row)
    window = Window(f"2024-01-{first:02d}", f"2024-01-{last:02d}")
    level = Level(data, run, config, row, artefacts.CPM)
    return natural.train(level, window)


def train_ads(data, run, first, last=0, model="e_cdctr"):
    """Train an A-CTR; return the place of its last day."""
    window = Window(f"2024-01-{first:02d}", f"2024-01-{last or first:02d}")
    row = model_table.model(model)
    config = configs.of_model(CONFIG, row)
    level = Level(data, run, config, row, artefacts.CTR)
    daily.DailyTrainer(level).run(window.split(1))
    return run.ctr(model) / window.last


def of_price(path):
    """Return the weights of the layer that scales the price, by name."""
    weights = checkpoint.read(path / artefacts.WEIGHTS)
    head = "feature_layers/scale_price/"
    return {
        name.removeprefix(head): value
        for name, value in weights.items()
        if name.startswith(head)
    }


def scores(path):
    return np.load(path / artefacts.SCORES)["ctr"]


def test_a_cpm_learns_them_from_its_first_window_and_ads_keep_them(tmp_path):
    data = training_world.small_data(
        tmp_path / "data",
        price=lambda domain, day, x: x * 9 + 1000 * (domain == "ads"),
    )
    run = Workdir(tmp_path / "run")
    first = of_price(train_cpm(data, run, 1, 2))
    rows = streams.read_columns(
        data, "natural", Window("2024-01-01", "2024-01-02")
    )
    assert first["rows"] == 48
    np.testing.assert_allclose(first["mean"], [rows["price"].mean()], 1e-5)
    np.testing.assert_allclose(first["deviation"], [rows["price"].std()], 1e-5)
    later = of_price(train_cpm(data, run, 3, 4))
    ads = of_price(train_ads(data, run, 5))
    for name in ("mean", "deviation", "quantiles"):
        np.testing.assert_array_equal(later[name], first[name])
        np.testing.assert_array_equal(ads[name], first[name])


# What natural rows have instead of a number that only ads have.
@pytest.mark.parametrize("absent", [NAN, 0.0])
def test_what_only_ads_have_changes_no_score_of_the_first_day(tmp_path, absent):
    found = {}
    for size in (0, 1e6):
        data = training_world.small_data(
            tmp_path / f"data{size}",
            price=lambda domain, day, x, size=size: (
                x * size if domain == "ads" else np.full_like(x, absent)
            ),
        )
        run = Workdir(tmp_path / f"run{size}")
        cpm = of_price(train_cpm(data, run, 1, 4))
        assert cpm["deviation"] == 0
        day = train_ads(data, run, 5)
        found[size] = scores(day)
        report = json.loads((day / artefacts.RESTORE).read_text())
        assert report["unseen"] == ["price"]
    np.testing.assert_array_equal(found[1e6], found[0])
    # The day itself is learned from: the price has a meaning and a gain.
    learned = of_price(day)
    assert learned["deviation"] > 1e4
    assert 0 < abs(learned["gain"][0, 0]) < 0.1


def test_an_id_that_only_ads_have_changes_no_score_of_the_first_day(tmp_path):
    """All natural rows have the same format, or none; those of ads differ."""
    spec = features.DataSpec(
        (*training_world.SMALL_SPEC.tables, features.TableSpec("format")),
        (
            *training_world.SMALL_SPEC.features,
            features.FeatureSpec("format", "id", "format"),
        ),
    )
    found = []
    for natural_row, ads_rows in ((0, 1), (0, 5), (3, 1), (3, 5)):
        place = tmp_path / f"{natural_row}{ads_rows}"
        data = training_world.small_data(
            place / "data",
            spec=spec,
            more=lambda domain, count, row=natural_row, rows=ads_rows: {
                "format": row + np.arange(count) % rows
                if domain == "ads"
                else np.full(count, row)
            },
        )
        run = Workdir(place / "run")
        train_cpm(data, run, 1, 4)
        day = train_ads(data, run, 5)
        found.append(scores(day))
        report = json.loads((day / artefacts.RESTORE).read_text())
        assert report["unseen"] == ["format"]
    for one, other in (found[:2], found[2:]):
        np.testing.assert_array_equal(one, other)
    table = checkpoint.read(day / artefacts.WEIGHTS)[
        "embedding/tables/format/embeddings"
    ]
    assert len(np.unique(table, axis=0)) == 6  # They were learned from ads.


@pytest.mark.parametrize(("many", "found"), [(49, 1), (48, 0)])
def test_missing_numbers_are_looked_for_in_the_first_rows_of_a_level(
    tmp_path, monkeypatch, many, found
):
    """The CPM has 48 rows before some are missing; an A-CTR looks itself."""
    monkeypatch.setattr(dense, "_MANY", many)
    data = training_world.small_data(
        tmp_path / "data",
        price=lambda domain, day, x: np.where(
            (day > "2024-01-02") & (np.arange(len(x)) % 2 > 0), NAN, x
        ),
    )
    run = Workdir(tmp_path / "run")
    train_cpm(data, run, 1, 2)
    assert of_price(train_cpm(data, run, 3, 4))["partial"] == found
    assert of_price(train_ads(data, run, 5))["partial"] == 1


def test_a_day_without_any_number_is_a_day_of_missing_ones(tmp_path):
    def price(domain, day, x):
        return np.full_like(x, NAN) if day == "2024-01-06" else x

    data = training_world.small_data(tmp_path / "data", price=price)
    run = Workdir(tmp_path / "run")
    train_cpm(data, run, 1, 4)
    before = of_price(train_ads(data, run, 5))
    after = of_price(train_ads(data, run, 6, 7))
    for name in ("mean", "deviation", "quantiles", "partial"):
        np.testing.assert_array_equal(after[name], before[name])
    assert np.isfinite(scores(run.ctr("e_cdctr") / "2024-01-06")).all()


@pytest.mark.parametrize("value", [-INF, 3e38])
def test_extreme_numbers_stop_nothing(tmp_path, value):
    def price(domain, day, x):
        return np.where(np.arange(len(x)) % 5 == 0, value, x)

    data = training_world.small_data(tmp_path / "data", price=price)
    day = train_ads(data, Workdir(tmp_path / "run"), 5, 6, "ads_only")
    assert np.isfinite(scores(day)).all()


@pytest.mark.parametrize("model", ["joint", "ple", "star"])
def test_models_of_both_domains_learn_them_from_both(tmp_path, model):
    data = training_world.small_data(
        tmp_path / "data",
        price=lambda domain, day, x: x if domain == "ads" else x * NAN,
    )
    learned = of_price(train_ads(data, Workdir(tmp_path / "run"), 5, 6, model))
    assert learned["deviation"] > 0
    assert learned["partial"] == 1


@pytest.mark.parametrize("model", ["keep", "ctnet"])
def test_models_beside_a_cpm_have_their_own(tmp_path, model):
    data = training_world.small_data(
        tmp_path / "data",
        price=lambda domain, day, x: x + 50 * (domain == "ads"),
    )
    run = Workdir(tmp_path / "run")
    cpm = of_price(train_cpm(data, run, 1, 4, model))
    learned = of_price(train_ads(data, run, 5, 6, model))
    # CTNet starts from the CPM, KEEP from the seed.
    started = model == "ctnet"
    assert (learned["mean"] == cpm["mean"]) == started
    assert learned["gain"][0, 0] != 0


def test_a_newer_cpm_gives_what_an_actr_lacks_and_changes_nothing_else(
    tmp_path,
):
    """Prices come up on natural day 4, missing ones never."""

    def price(domain, day, x):
        if domain == "ads":
            return np.full_like(x, 7.0)
        return x if day >= "2024-01-04" else np.zeros_like(x)

    data = training_world.small_data(tmp_path / "data", price=price)
    run = Workdir(tmp_path / "run")
    train_cpm(data, run, 1, 3)
    assert of_price(train_ads(data, run, 5))["deviation"] == 0
    cpm = of_price(train_cpm(data, run, 4, 5))
    assert cpm["deviation"] > 0
    ads = of_price(train_ads(data, run, 6))
    train_cpm(data, run, 6, 6)
    later = of_price(train_ads(data, run, 7))
    for name in ("mean", "deviation", "quantiles"):
        np.testing.assert_array_equal(ads[name], cpm[name])
        np.testing.assert_array_equal(later[name], cpm[name])


@pytest.mark.parametrize(("most", "rows"), [(48, 48), (47, 24), (10, 10)])
def test_long_windows_are_looked_at_in_even_steps(
    tmp_path, monkeypatch, most, rows
):
    monkeypatch.setattr(statistics, "ROWS", most)
    data = training_world.small_data(tmp_path / "data")
    learned = of_price(train_cpm(data, Workdir(tmp_path / "run"), 1, 2))
    assert learned["rows"] == rows
