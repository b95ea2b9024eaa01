"""Made-up logs with the columns of the Globo clicks and impressions."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

FILES = ("globo_dev_clicks", "globo_dev_target")
GLOBO_DAYS = (1,) * 14
# Shares of the rows of the days whose memory is measured.
DAYS = (1, 3, 1, 1)
USERS, ITEMS = 200_000, 20_000
# Of ten rows, nine are natural.
_ADS_SHARE = 0.1
# Midnight of the first day of `globo.toml`, 2017-10-01, in its zone, in ms.
_FIRST = 1_506_826_800_000
_DAY = 86_400_000
# Rows that are made up together.
_PART_ROWS = 250_000


def write_parquet(directory: pathlib.Path, rows: int) -> None:
    """Write made-up logs like those of Globo.

    Args:
      directory: is made.
      rows: of both domains.
    """
    directory.mkdir()
    for name, count, domain in _shares(rows):
        path = directory / f"{name}.parquet"
        parts = parts_of(domain, count, GLOBO_DAYS)
        first = next(parts)
        with pa.parquet.ParquetWriter(path, first.schema) as out:
            out.write_table(first)
            for part in parts:
                out.write_table(part)


def write_text(directory: pathlib.Path, gigabytes: float) -> None:
    """Write made-up logs as text, with columns that nothing reads.

    Args:
      directory: is made.
      gigabytes: of both files.
    """
    directory.mkdir()
    sample = directory / "sample.csv"
    rows = _wide(next(parts_of("natural", 10_000, DAYS)))
    pa.csv.write_csv(rows, sample)
    bytes_of_row = sample.stat().st_size / len(rows)
    sample.unlink()
    for name, count, domain in _shares(int(gigabytes * 1e9 / bytes_of_row)):
        parts = map(_wide, parts_of(domain, count, DAYS))
        first = next(parts)
        with pa.csv.CSVWriter(directory / f"{name}.csv", first.schema) as out:
            out.write(first)
            for part in parts:
                out.write(part)


def parts_of(
    domain: str, rows: int, days: tuple[int, ...]
) -> Iterator[pa.Table]:
    """Yield made-up rows of a domain, day by day, within a day in no order.

    Args:
      domain: "natural" or "ads".
      rows: of all days.
      days: the share that each day has, over their sum.
    """
    rng = np.random.default_rng(len(domain))
    for day, share in enumerate(days):
        of_day = max(rows * share // sum(days), 1)
        for start in range(0, of_day, _PART_ROWS):
            yield _part(rng, domain, day, min(_PART_ROWS, of_day - start))


def _part(rng, domain: str, day: int, count: int) -> pa.Table:
    columns = {
        "user_id": USERS * rng.random(count) ** 2,
        "article_id": ITEMS * rng.random(count) ** 4,
        "timestamp": _FIRST + day * _DAY + rng.integers(0, _DAY, count),
        "local_day": np.full(count, day, np.int16),
        "label": rng.random(count) < 0.2,
    }
    for name, most in (
        ("environment", 3),
        ("deviceGroup", 5),
        ("os", 20),
        ("country", 11),
        ("region", 28),
        ("referrer_type", 2),
    ):
        columns[f"click_{name}"] = rng.integers(1, most + 1, count, np.int8)
    for name in ("user_id", "article_id"):
        columns[name] = columns[name].astype(np.int32)
    columns["label"] = columns["label"].astype(np.int8)
    if domain == "natural":
        columns["click_article_id"] = columns.pop("article_id")
        columns["click_timestamp"] = columns.pop("timestamp")
        del columns["label"]
    return pa.table(columns)


def _wide(rows: pa.Table) -> pa.Table:
    """Return rows with the texts that a web server would log beside them."""
    agents = pa.array(
        f"Mozilla/5.0 (device {i}; Android 14) Mobile/{100 + i}.0"
        for i in range(28)
    )
    place = pa.array(rows["click_region"].to_numpy() - 1)
    return rows.append_column("user_agent", agents.take(place))


def _shares(rows: int) -> list[tuple[str, int, str]]:
    """Return file, rows and domain of each log."""
    ads = int(rows * _ADS_SHARE)
    return list(zip(FILES, (rows - ads, ads), ("natural", "ads"), strict=True))
