"""TFDS builder of the news clicks of Globo, 2017-10-01 to 2017-10-14.

Natural rows are clicks that came by referrer 1 and 2; they are clicks only, and
the converter draws their negatives. Ads rows are the impressions of the target
file as they are: their negatives were drawn once and for all, so the level of
the click rate is artificial. The referrer is left out, it defines the domain.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from ecdctr_tf import windows
from ecdctr_tf.input.datasets import two_domain

CLICKS = "globo_dev_clicks.parquet"
TARGET = "globo_dev_target.parquet"
# The day that `local_day` 0 stands for, in the portal's time, UTC-3.
FIRST_DAY = "2017-10-01"
_NATURAL_REFERRERS = [1, 2]
# Names in either file -> names here; times in the files are milliseconds.
_NAMES = {
    "click_article_id": "article_id",
    "click_timestamp": "timestamp",
    "label": "click",
}


class Globo(two_domain.TwoDomainBuilder):
    """Clicks (natural) and impressions (ads) of a large news portal.

    `timestamp` is in whole seconds since 1970-01-01 UTC; days, `local_day`
    among them, are days of the portal's time.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Referrers 1 and 2 natural, the target file ads."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Put {CLICKS} and {TARGET} into a folder and pass it as the manual "
        "directory. They are made from the data set 'News Portal User "
        "Interactions by Globo.com' on Kaggle, which is for research only."
    )
    FILES = (CLICKS, TARGET)
    ABOUT = (
        "News clicks of a large portal and sampled impressions of a target "
        "domain. One example is a block of rows of one day."
    )
    COLUMNS = {
        "user_id": np.int64,
        "article_id": np.int64,
        "timestamp": np.int64,
        "local_day": np.int64,
        "click_environment": np.int64,
        "click_deviceGroup": np.int64,
        "click_os": np.int64,
        "click_country": np.int64,
        "click_region": np.int64,
        "click": np.uint8,
    }
    # Clicks only: without labels the converter draws negatives.
    LACKS = {"natural": ("click",)}

    def day_rows(
        self, domain: str, folder: pathlib.Path
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield `(day, rows)` in order of days."""
        rows = _natural(folder) if domain == "natural" else _ads(folder)
        first = windows.day_number(FIRST_DAY)
        for day in sorted(pc.unique(rows["local_day"]).to_pylist()):
            yield (
                first + day,
                rows.filter(pc.equal(rows["local_day"], day)),
            )


def _natural(folder: pathlib.Path) -> pa.Table:
    return _events(
        pq.read_table(
            folder / CLICKS,
            filters=[("click_referrer_type", "in", _NATURAL_REFERRERS)],
        )
    )


def _ads(folder: pathlib.Path) -> pa.Table:
    return _events(pq.read_table(folder / TARGET))


def _events(rows: pa.Table) -> pa.Table:
    """Return a file's rows under one set of names, times in seconds."""
    rows = rows.rename_columns(
        [_NAMES.get(name, name) for name in rows.column_names]
    )
    seconds = pc.divide(rows["timestamp"], 1_000)
    place = rows.column_names.index("timestamp")
    return rows.set_column(place, "timestamp", seconds)
