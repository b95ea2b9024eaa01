"""Shares and paces of natural sources in training windows."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ecdctr_tf import config as configs
from ecdctr_tf import features, store, windows
from ecdctr_tf.comparison import matrix, shared, variants
from ecdctr_tf.input import data_directory, id_space, sources, streams
from ecdctr_tf.model_table import model as model_row
from ecdctr_tf.models import ctr_model
from ecdctr_tf.training import level, natural
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.transfer import snapshots
from tests import training_world as world

pytestmark = pytest.mark.usefixtures("eagerly")

NAMES = ("feed", "search", "video")
WINDOW = windows.Window("2024-01-01", "2024-01-04")
WEEK = world.SMALL_NATURAL
ROWS = 24
# Search has the first rows of some days, feed all others.
SEARCH = {"2024-01-01": 1, "2024-01-02": 3, "2024-01-04": 2}


def number_of(day, count):
    """Return the number of the source of each row of a day."""
    found = np.ones(count, np.int64)
    found[: SEARCH.get(day, 0)] = 2
    return found


def make(path, old=0):
    """Write natural days of two sources, where rows of search weigh a half.

    Args:
      path: the data directory.
      old: days at the beginning that were written without sources.
    """
    path.mkdir(parents=True)
    world.SMALL_SPEC.save(path / data_directory.SPEC)
    for table, count in zip(world.SMALL_SPEC.tables, (100, 8), strict=True):
        space = id_space.new(table)
        space.append(np.arange(count))
        space.save(path / "ids")
    data = data_directory.DataDirectory(path)
    known = {"user": 101, "item": 9}
    for domain, window in (("natural", WEEK), ("ads", world.SMALL_ADS)):
        for place, day in enumerate(window.days):
            number = windows.day_number(day)
            rng = np.random.default_rng([number, len(domain)])
            source = number_of(day, ROWS)
            rows = {
                "user_id": rng.integers(1, 101, ROWS),
                "item_id": rng.integers(1, 9, ROWS),
                "price": rng.random(ROWS).astype(np.float32),
                "click": np.arange(ROWS) % 2,
                "timestamp": number * 86_400 + np.arange(ROWS),
            }
            names = ()
            if domain == "natural":
                rows["weight"] = np.where(source == 2, 0.5, 1)
                if place >= old:
                    rows[features.SOURCE] = source
                    names = NAMES
            data.write_day(domain, day, [rows], known, sources=names)
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make(tmp_path_factory.mktemp("sources") / "data")


@pytest.fixture(scope="module")
def aged(tmp_path_factory):
    """The first two days were written before there were sources."""
    return make(tmp_path_factory.mktemp("aged") / "data", old=2)


def batches(data, wish, window=WINDOW, seed=None, size=8, **options):
    use = sources.use(data, window, wish)
    found = list(
        streams.batches(
            data, "natural", window, size, seed, use=use, **options
        ).as_numpy_iterator()
    )
    columns = {
        name: np.concatenate([inputs[name] for inputs, _ in found])
        for name in found[0][0]
    }
    return use, found, columns


def weights_by_source(data, columns, window=WINDOW):
    """Return the sum of weights of each source, found by their prices."""
    rows = streams.read_columns(data, "natural", window, with_source=True)
    source = dict(zip(rows["price"], rows[features.SOURCE], strict=True))
    number = [source[price] for price in columns["price"]]
    return np.bincount(number, columns["weight"], 4)


def test_shares_are_those_of_the_weights_of_a_window(data):
    wish = sources.Wish(shares={"search": 0.3})
    use, found, columns = batches(data, wish, seed=3)
    held = weights_by_source(data, columns)
    plain = weights_by_source(
        data, streams.read_columns(data, "natural", WINDOW)
    )
    assert held[2] / held.sum() == pytest.approx(0.3, rel=1e-6)
    assert plain[2] / plain.sum() < 0.05
    # The scale of weights stays, and every row is there once.
    assert held.sum() == pytest.approx(plain.sum(), rel=1e-6)
    assert use.rows == len(columns["weight"]) == 4 * ROWS
    assert features.SOURCE not in found[0][0]
    assert {n: of["rows"] for n, of in use.of_sources.items()} == {
        "feed": 90,
        "search": 6,
    }
    assert use.of_sources["feed"]["share"] == pytest.approx(0.7)
    assert use.of_sources["search"]["share"] == pytest.approx(0.3)


@pytest.mark.parametrize("days", [{}, {"search": 1}])
def test_a_source_has_its_share_in_the_steps_too(data, days):
    """Where its rows are on few days, those steps are larger."""
    wish = sources.Wish(shares={"search": 0.5}, days=days)
    # The rows that are left out of a day would move the batches' ends.
    window = windows.Window("2024-01-03", "2024-01-04") if days else WINDOW
    use, found, _ = batches(data, wish, window, size=ROWS)
    rows = streams.read_columns(data, "natural", window, with_source=True)
    number = rows[features.SOURCE].reshape(-1, ROWS)
    ones, zeros = tf.ones(ROWS), tf.zeros(ROWS)
    of_steps = []
    for (inputs, _), of in zip(found, number, strict=True):
        weights, base = inputs["weight"], inputs[features.BASE_WEIGHT]
        parts = [
            ctr_model.log_loss(ones, zeros, weights * (of == source), base)
            for source in (1, 2)
        ]
        of_steps.append(parts)
    learned = np.sum(of_steps, axis=0)
    # The logs' own weights differ from batch to batch by a little.
    assert learned[1] / learned.sum() == pytest.approx(0.5, rel=0.02)
    assert use.of_sources["search"]["share"] == pytest.approx(0.5)


def test_the_share_of_a_source_without_rows_goes_to_the_others(data):
    wish = sources.Wish(shares={"video": 0.5, "search": 0.2})
    use, _, columns = batches(data, wish)
    held = weights_by_source(data, columns)
    # Feed is left 0.3.
    assert held[2] / held.sum() == pytest.approx(0.4, rel=1e-6)
    assert list(use.of_sources) == ["feed", "search"]
    # Day 3 has feed only: nothing changes.
    one = windows.Window("2024-01-03", "2024-01-03")
    _, _, columns = batches(data, wish, one)
    np.testing.assert_allclose(columns["weight"], 1, rtol=1e-6)


@pytest.mark.parametrize(("days", "rows"), [(1, 2), (3, 5), (4, 6), (99, 6)])
def test_the_newest_days_of_a_source(data, days, rows):
    """They are counted from its last day with rows."""
    wish = sources.Wish(days={"search": days, "video": 1})
    use, _, columns = batches(data, wish)
    held = weights_by_source(data, columns)
    assert (held[1], held[2]) == (90, rows / 2)
    assert use.rows == len(columns["weight"]) == 90 + rows
    # In a window that ends without search, its last day there is the newest.
    window = windows.Window("2024-01-01", "2024-01-03")
    use, _, _ = batches(data, sources.Wish(days={"search": 1}), window)
    assert use.of_sources["search"] == {"rows": 3}


def test_a_source_that_is_left_out_is_not_read(data):
    use, _, columns = batches(data, sources.Wish(exclude=("feed",)))
    assert use.rows == len(columns["weight"]) == 6
    # Two batches, even in size; days without rows do not end the stream.
    _, found, _ = batches(
        data, sources.Wish(exclude=("feed",)), seed=1, size=4, passes=3
    )
    assert [len(click) for _, click in found] == [3, 4, 3, 4, 4]
    assert batches_are_empty(data)


def batches_are_empty(data):
    window = windows.Window("2024-01-03", "2024-01-03")
    use = sources.use(data, window, sources.Wish(exclude=("feed",)))
    stream = streams.batches(data, "natural", window, 8, use=use)
    return use.rows == 0 and not list(stream)


def test_nothing_that_is_asked_for_changes_nothing(data):
    assert sources.use(data, WINDOW, sources.Wish()) is None


def test_a_stream_can_be_taken_up_again(data):
    wish = sources.Wish(shares={"search": 0.5}, days={"feed": 2})
    _, whole, _ = batches(data, wish, seed=7, passes=2)
    _, rest, _ = batches(data, wish, seed=7, passes=2, skip=3)
    assert len(rest) == len(whole) - 3
    for (a, _), (b, _) in zip(whole[3:], rest, strict=True):
        for name, column in a.items():
            np.testing.assert_array_equal(column, b[name])


def test_ads_among_natural_rows_count_as_they_are(data):
    use = sources.use(
        data,
        WINDOW,
        sources.Wish(shares={"search": 0.5}, days={"feed": 1}),
    )
    parts = {"natural": WINDOW, "ads": windows.Window(*["2024-01-05"] * 2)}
    found = list(
        streams.mixed(data, parts, 8, seed=1, use=use).as_numpy_iterator()
    )
    domain = np.concatenate([inputs["domain"] for inputs, _ in found])
    weight = np.concatenate([inputs["weight"] for inputs, _ in found])
    np.testing.assert_array_equal(weight[domain == 1], 1)
    assert (domain == 0).sum() == use.rows == 22 + 6
    rows = weight[domain == 0]
    assert np.sort(rows)[-6:].sum() == pytest.approx(rows.sum() / 2)


def test_rows_of_before_there_were_sources(aged):
    wish = sources.Wish(shares={"search": 0.2, "unknown": 0.5})
    use, _, columns = batches(aged, wish)
    held = weights_by_source(aged, columns)
    assert (held / held.sum())[:3] == pytest.approx([0.5, 0.3, 0.2])
    # Of these days the weights are read: those of search were a half.
    assert held.sum() == pytest.approx(90 + 3)
    assert use.of_sources["unknown"]["rows"] == 48
    assert sources.use(aged, WINDOW, sources.Wish(exclude=("unknown",))).rows


def test_shares_that_leave_nothing_for_a_source_are_rejected(aged):
    wish = sources.Wish(shares={"search": 0.4, "feed": 0.6})
    with pytest.raises(ValueError, match="leaves nothing for .* of unknown"):
        sources.use(aged, WINDOW, wish)
    later = windows.Window("2024-01-03", "2024-01-04")
    assert sources.use(aged, later, wish).rows == 48


@pytest.mark.parametrize(
    "setting", ["shares=serch:0.5", "days=serch:3", "exclude=serch"]
)
def test_names_that_are_no_sources_list_those_there_are(
    data, setting, tmp_path
):
    config = configs.override(world.SMALL_CONFIG, [f"sources.{setting}"])
    with pytest.raises(ValueError) as error:
        make_level(data, tmp_path, config)
    assert "no natural source 'serch'" in str(error.value)
    assert "are feed, search, video." in str(error.value)


@pytest.mark.parametrize(
    "setting",
    ["shares=feed", "shares=feed:0", "shares=feed:0.7,search:0.4"]
    + ["shares=feed:-0.1", "shares=feed:much", "shares=:0.3", "shares=feed:nan"]
    + ["shares=feed:0.1,feed:0.2", "days=feed:0", "days=feed:1.5", "days=3"],
)
def test_settings_that_mean_nothing_are_rejected(setting):
    field = setting.partition("=")[0]
    with pytest.raises(ValueError, match=f"`{field}` should be name:"):
        configs.override(configs.Config(), [f"sources.{setting}"])


def make_level(data, path, config, kind="cpm", model="e_cdctr"):
    row = model_row(model)
    own = configs.of_model(config, row)
    return level.Level(data, Workdir(path / "run"), own, row, kind)


def trained(data, path, *settings, kind="cpm"):
    """Return the CPM of a window, and its manifest."""
    asked = [
        "model.history=false",
        "history.start_tables=false",
        *(f"sources.{setting}" for setting in settings),
    ]
    config = configs.override(world.SMALL_CONFIG, asked)
    own = make_level(data, path, config, kind)
    place = natural.train(own, WINDOW)
    return own, store.read_manifest(place, own.kind)


def test_a_level_learns_by_shares_and_goes_on_with_them(data, tmp_path):
    plain, _ = trained(data, tmp_path / "plain")
    level_of, manifest = trained(data, tmp_path / "a", "shares=search:0.9")
    again, _ = trained(data, tmp_path / "b", "shares=search:0.9")
    assert manifest.metrics["sources"]["search"] == {
        "rows": 6,
        "share": pytest.approx(0.9),
    }
    kernels = [
        own.model.head.kernel.numpy() for own in (plain, level_of, again)
    ]
    np.testing.assert_array_equal(kernels[1], kernels[2])
    assert not np.allclose(kernels[0], kernels[1])
    config = configs.override(level_of.config, ["sources.shares=search:0.8"])
    with pytest.raises(
        ValueError, match="trained with other settings: sources"
    ):
        make_level(data, tmp_path / "a", config).check_newest()
    # Of an A-CTR on ads, only its CPM depends on them.
    later = windows.Window("2024-01-05", "2024-01-06")
    natural.train(make_level(data, tmp_path / "a", level_of.config), later)


def test_a_tpm_has_no_snapshot_of_ids_that_were_left_out(data, tmp_path):
    _, manifest = trained(data, tmp_path, "exclude=feed", kind="snapshot")
    rows = streams.read_columns(data, "natural", WINDOW, with_source=True)
    of_search = rows[features.SOURCE] == 2
    tables = snapshots.read(Workdir(tmp_path / "run").tpm / WINDOW.last)
    assert manifest.rows == tables["user"].counts.sum() == 6
    # Row 1 of the table is id 0.
    seen = set(rows["user_id"][of_search] - 1)
    assert set(tables["user"].ids) == seen


def test_windows_that_lose_all_rows_are_skipped(data, tmp_path, caplog):
    config = configs.override(
        world.SMALL_CONFIG,
        ["sources.exclude=feed", "schedule.tpm_days=1"]
        + ["schedule.ctr_first=2024-01-05"],
    )
    own = make_level(data, tmp_path, config, "snapshot")
    natural.train_planned(own)
    assert store.dated(own.directory) == sorted(SEARCH)
    assert "no rows beside those of feed in 2024-01-03" in caplog.text
    day = windows.Window("2024-01-06", "2024-01-06")
    with pytest.raises(ValueError, match="no rows beside those of feed"):
        natural.train(own, day)


@pytest.mark.long
def test_an_interrupted_window_ends_with_the_same_weights(data, tmp_path):
    program = f"""
import os, signal
from ecdctr_tf import windows
from ecdctr_tf.input import data_directory
from ecdctr_tf.training import fit, natural
from tests import test_sources as of
from ecdctr_tf import config as configs
kept = fit._Recorder.keep
def keep(self):
    kept(self)
    os.kill(os.getpid(), signal.SIGKILL)
fit._Recorder.keep = keep
config = configs.override(of.world.SMALL_CONFIG, {list(KILLED)!r})
data = data_directory.DataDirectory({str(data.path)!r})
path = __import__("pathlib").Path({str(tmp_path / "killed")!r})
natural.train(of.make_level(data, path, config), of.WINDOW)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    found = []
    config = configs.override(world.SMALL_CONFIG, KILLED)
    for name in ("killed", "whole"):
        own = make_level(data, tmp_path / name, config)
        natural.train(own, WINDOW)
        found.append(own.model.head.kernel.numpy())
    np.testing.assert_allclose(*found, atol=1e-6)


KILLED = (
    "model.history=false",
    "history.start_tables=false",
    "sources.shares=search:0.5",
    "sources.days=feed:2",
    "cpm.batch_size=4",
    "cpm.checkpoint_steps=3",
)


def test_the_ablation_that_leaves_a_source_out(data, tmp_path):
    (row,) = variants.chosen(["without_search"])
    assert row.ablation and row.label == "without search"
    config = configs.of_model(world.SMALL_CONFIG, row)
    assert config.sources.exclude == ("search",)
    runs = [
        shared.workdir_of(tmp_path, data, configs.of_model(base, of), of)
        for base, of in (
            (world.SMALL_CONFIG, row),
            (world.SMALL_CONFIG, model_row("e_cdctr")),
        )
    ]
    for kind in ("tpm", "historical"):
        assert getattr(runs[0], kind) != getattr(runs[1], kind)
    assert runs[0].cpm("e_cdctr") != runs[1].cpm("e_cdctr")
    # Those that all leave out stay out.
    (row,) = variants.chosen(["without_search"], ["feed"])
    config = configs.of_model(world.SMALL_CONFIG, row)
    assert config.sources.exclude == ("feed", "search")
    with pytest.raises(ValueError, match="without_<natural source>"):
        variants.chosen(["without_"])
    text = json.loads(config.to_json())
    exclude = ["feed", "search"]
    assert text["sources"] == {"shares": [], "days": [], "exclude": exclude}


def test_a_source_that_there_is_not_is_named_before_anything_is_trained(
    data, tmp_path
):
    of_all = matrix.Matrix(data, tmp_path, world.SMALL_CONFIG, 1)
    rows = variants.chosen(["e_cdctr", "without_serch"])
    with pytest.raises(ValueError, match="no natural source 'serch'"):
        of_all.run(rows, [0])
    assert not list(tmp_path.iterdir())
