import datetime
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from ecdctr_tf import windows
from ecdctr_tf.input import convert, data_directory
from ecdctr_tf.input.datasets import (
    globo,
    movielens,
    prepare,
    synthetic_two_domain,
    synthetic_world,
    two_domain,
)

LOGS = pathlib.Path(__file__).parents[2] / "shared" / "data"


def _real(name):
    folder = LOGS / name
    if not folder.is_dir():
        pytest.skip(
            f"../shared/data/{name} is absent; its licence keeps it out"
        )
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("The network was asked for a data set.")

    gcs_utils = tfds.core.utils.gcs_utils
    monkeypatch.setattr(gcs_utils, "is_dataset_on_gcs", refuse)
    monkeypatch.setattr(gcs_utils, "download_gcs_dataset", refuse)
    tfds.disable_progress_bar()


def _tables(builder, manual_dir=None):
    two_domain.prepare(builder, manual_dir)
    return list(two_domain.tables(builder))


def test_synthetic_round_trip_gives_the_rows_of_the_world(tmp_path):
    builder = synthetic_two_domain.SyntheticTwoDomain(
        data_dir=tmp_path, config="tiny"
    )
    found = _tables(builder)
    expected = list(synthetic_world.generate(synthetic_world.TINY))
    assert [domain for domain, _ in found] == [d for d, _ in expected]
    for (_, a), (_, b) in zip(found, expected, strict=True):
        assert a.equals(b.combine_chunks())
    assert builder.info.splits["ads"].num_examples == 5


def test_days_larger_than_a_block_come_back_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(two_domain, "BLOCK_ROWS", 150)
    builder = synthetic_two_domain.SyntheticTwoDomain(
        data_dir=tmp_path, config="tiny"
    )
    found = _tables(builder)
    # 400 rows take blocks of 150, 150 and 100.
    assert builder.info.splits["natural"].num_examples == 3 * 12
    expected = list(synthetic_world.generate(synthetic_world.TINY))
    assert len(found) == len(expected)
    for (_, a), (_, b) in zip(found, expected, strict=True):
        assert a.combine_chunks().equals(b)


def test_prepare_again_reuses_the_blocks(tmp_path, monkeypatch):
    builder = synthetic_two_domain.SyntheticTwoDomain(
        data_dir=tmp_path, config="tiny"
    )
    two_domain.prepare(builder)
    monkeypatch.setattr(builder, "day_rows", None)
    two_domain.prepare(builder)


def test_worlds_have_configs_of_their_own_name():
    config = synthetic_two_domain.world_builder_config
    default = config(synthetic_world.WorldConfig())
    assert default.name == "default"
    names = {
        config(synthetic_world.WorldConfig(ads_per_day=n)).name
        for n in (500, 1_000, 1_500)
    }
    assert len(names) == 3 and "default" in names


def test_builder_of_any_world(tmp_path):
    world = synthetic_world.WorldConfig(
        days=2, ads_days=1, natural_per_day=30, ads_per_day=7
    )
    config = synthetic_two_domain.world_builder_config(world)
    builder = synthetic_two_domain.SyntheticTwoDomain(
        data_dir=tmp_path, config=config
    )
    rows = [(domain, t.num_rows) for domain, t in _tables(builder)]
    assert rows == [("natural", 30), ("natural", 30), ("ads", 7)]


@pytest.mark.parametrize("builder", [globo.Globo, movielens.MovieLens1m])
@pytest.mark.parametrize("state", ["not given", "absent", "empty", "other"])
def test_missing_files_say_how_to_get_them(tmp_path, builder, state):
    manual = tmp_path / "manual"
    if state in ("empty", "other"):
        manual.mkdir()
    if state == "other":
        (manual / "readme.txt").write_text("nothing of use")
    with pytest.raises(FileNotFoundError, match="pass it as the manual dir"):
        two_domain.prepare(
            builder(data_dir=tmp_path / "tfds"),
            None if state == "not given" else manual,
        )


def _write_movielens(folder, ratings):
    (folder / movielens.RATINGS).write_text("\n".join(ratings) + "\n")
    (folder / "users.dat").write_text(
        "1::F::1::10::48067\n2::M::56::16::70072-2117\n"
    )
    (folder / "movies.dat").write_text(
        "5::Café (1995)::Drama|War\n6::Heat (1996)::Action\n"
        "10::Se7en (1995)::Crime\n",
        encoding="latin-1",
    )


def test_movielens_parts_joins_and_sorts(tmp_path):
    # 2000-12-31 22:40:00 and the next day, in seconds.
    first = int(
        datetime.datetime(2000, 12, 31, 22, 40, tzinfo=datetime.UTC).timestamp()
    )
    second = first + 7_200
    _write_movielens(
        tmp_path,
        [
            f"2::6::3::{second}",
            # 7919 * 1 + 104729 * 5 = 531564 is even: ads.
            f"1::5::4::{second}",
            # 7919 * 2 + 104729 * 5 = 539483 is odd: natural.
            f"2::5::5::{first}",
            # 7919 * 2 + 104729 * 10 = 1063128 is even: ads.
            f"2::10::1::{first}",
        ],
    )
    builder = movielens.MovieLens1m(data_dir=tmp_path / "tfds")
    found = [(d, t.to_pylist()) for d, t in _tables(builder, tmp_path)]
    assert [d for d, _ in found] == ["natural", "ads", "natural", "ads"]
    assert [len(rows) for _, rows in found] == [1, 1, 1, 1]
    assert found[0][1] == [
        {
            "user_id": 2,
            "movie_id": 5,
            "timestamp": first,
            "rating": 5,
            "click": 1,
            "gender": "M",
            "age": 56,
            "occupation": 16,
            "zip_code": "70072-2117",
            "release_year": 1995,
            "genres": "Drama|War",
        }
    ]
    picked = [
        (rows[0]["user_id"], rows[0]["movie_id"], rows[0]["click"])
        for _, rows in found
    ]
    assert picked == [(2, 5, 1), (2, 10, 0), (2, 6, 0), (1, 5, 1)]


def test_movielens_refuses_a_rating_of_an_unknown_movie(tmp_path):
    _write_movielens(tmp_path, ["1::7::4::978300000"])
    with pytest.raises(ValueError, match="1 ratings have a `movie_id`"):
        movielens.ratings(tmp_path)


def test_movielens_sample_has_the_known_rows(tmp_path):
    folder = _real("ml1m_100k")
    rows = {}
    for domain in ("natural", "ads"):
        builder = movielens.MovieLens1m(data_dir=tmp_path)
        days = list(builder.day_rows(domain, folder))
        assert [d for d, _ in days] == sorted({d for d, _ in days})
        rows[domain] = pa.concat_tables([table for _, table in days])
    assert rows["natural"].num_rows == 89_857
    assert rows["ads"].num_rows == 10_143
    last = windows.day_number("2000-11-25") * 86_400
    assert (rows["ads"]["timestamp"].to_numpy() >= last).sum() == 2_658


def test_prepare_of_movielens_is_convert_of_its_files(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(0)
    _write_movielens(
        raw,
        [
            f"{user}::{item}::{rating}::{time}"
            for user, item, rating, time in zip(
                rng.integers(1, 3, 60),
                rng.choice([5, 6, 10], 60),
                rng.integers(1, 6, 60),
                978_300_000 + rng.choice(4 * 86_400, 60, replace=False),
                strict=True,
            )
        ],
    )
    prepare.prepare("movielens", tmp_path / "a", raw)
    convert.convert_logs(prepare.spec("movielens"), raw, tmp_path / "b")
    _assert_same_files(tmp_path / "a", tmp_path / "b")


def _assert_same_files(a, b):
    names = [
        sorted(p.relative_to(d) for p in d.rglob("*") if p.is_file())
        for d in (a, b)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def _write_globo(folder):
    # 00:30 of local days 0 and 1 in milliseconds; local time is UTC-3.
    day0 = (windows.day_number("2017-10-01") * 24 + 3) * 3_600_000 + 1_800_000
    day1 = day0 + 86_400_000
    shared = {
        name: np.array([1, 2, 3, 4], np.int8)
        for name in (
            "click_environment",
            "click_deviceGroup",
            "click_os",
            "click_country",
            "click_region",
        )
    }
    shared["user_id"] = np.array([8, 9, 8, 8], np.int32)
    shared["local_day"] = np.array([0, 0, 0, 1], np.int16)
    time = [day0, day0 + 1_500, day0 + 2_999, day1]
    article = np.array([157_541, 70, 80, 90], np.int32)
    clicks = {
        "click_article_id": article,
        "click_timestamp": time,
        "click_referrer_type": np.array([1, 7, 2, 1], np.int8),
    }
    pq.write_table(pa.table(shared | clicks), folder / globo.CLICKS)
    target = {
        "impression_id": np.array([3, 3, 3, 4], np.int32),
        "article_id": article,
        "timestamp": time,
        "click_referrer_type": np.array([7, 7, 7, 7], np.int8),
        "label": np.array([0, 1, 0, 1], np.int8),
    }
    pq.write_table(pa.table(shared | target), folder / globo.TARGET)
    return time


def test_globo_parts_by_referrer_and_keeps_the_target_file(tmp_path):
    time = _write_globo(tmp_path)
    found = _tables(globo.Globo(data_dir=tmp_path / "tfds"), tmp_path)
    assert [(d, t.num_rows) for d, t in found] == [
        ("natural", 2),
        ("ads", 3),
        ("natural", 1),
        ("ads", 1),
    ]
    natural, ads = found[0][1].to_pydict(), found[1][1].to_pydict()
    assert natural["article_id"] == [157_541, 80]
    assert natural["timestamp"] == [time[0] // 1000, time[2] // 1000]
    assert ads["click"] == [0, 1, 0]
    assert ads["click_os"] == [1, 2, 3]
    assert set(ads) - set(natural) == {"click"}
    assert "click_referrer_type" not in ads


def test_prepare_of_globo_is_convert_of_its_files(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    _write_globo(raw)
    prepare.prepare("globo", tmp_path / "a", raw)
    convert.convert_logs(prepare.spec("globo"), raw, tmp_path / "b")
    _assert_same_files(tmp_path / "a", tmp_path / "b")


def test_prepare_command_writes_a_synthetic_data_directory(tmp_path, capsys):
    arguments = ["--dataset=synthetic", "--world=tiny", "--ads_per_day=50"]
    arguments += [f"--out={tmp_path / 'data'}", f"--tfds_dir={tmp_path / 't'}"]
    prepare.main(arguments)
    assert "natural" in capsys.readouterr().out
    data = data_directory.DataDirectory(tmp_path / "data")
    assert data.rows("natural", data.window("natural")) == 12 * 400
    assert data.rows("ads", data.window("ads")) == 5 * 50
    assert data.spec.evaluation == ("true_ctr",)
    assert (tmp_path / "t" / "synthetic_two_domain").is_dir()
    with pytest.raises(SystemExit, match="prepare: .* exists"):
        prepare.main(arguments)


def test_prepare_command_refuses_dials_of_real_logs(tmp_path, capsys):
    out = tmp_path / "data"
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["--dataset=globo", "--seed=1", f"--out={out}"])
    assert "only --dataset=synthetic" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="Kaggle"):
        prepare.main(["--dataset=globo", f"--out={out}"])
    with pytest.raises(ValueError, match="`dataset` should be one of"):
        prepare.prepare("movies", out)
    assert not out.exists()


def test_globo_files_have_the_known_rows(tmp_path):
    folder = _real("globo")
    builder = globo.Globo(data_dir=tmp_path)
    ads = list(builder.day_rows("ads", folder))
    assert len(ads) == 14 and ads[0][0] == windows.day_number("2017-10-01")
    assert sum(rows.num_rows for _, rows in ads) == 296_570
    assert sum(int(np.sum(r["click"].to_numpy())) for _, r in ads) == 59_314
    day, natural = next(builder.day_rows("natural", folder))
    assert day == ads[0][0]
    local = natural["timestamp"].to_numpy() - 3 * 3600
    assert (local // 86_400 == day).all()
