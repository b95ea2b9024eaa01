"""Logs that bring new users and items each day, for tests of expiry."""

import dataclasses

import numpy as np
import pyarrow as pa

from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory
from ecdctr_tf.input.conversion import converter, erasing, expiring
from tests import erasure_world

DAYS, FIRST_ADS = 6, 4
# Ids that are not of the newest two days go.
UNSEEN_DAYS = 2
DATE = "2024-02-01"
# Users of the days before these.
EXPIRED = [f"user-{n:06d}" for n in range(80)]
# New users of each day, of those that it has, and new items.
NEW_USERS, USERS, NEW_ITEMS = 20, 40, 3
CONFIG = configs.override(
    erasure_world.CONFIG,
    # What is dropped of a row is drawn by its numbers.
    ["schedule.cpm_every=2", "history.dropout=0"],
)


def tables(first: int = 0, stop: int = DAYS, first_ads: int = FIRST_ADS):
    """Yield the logs of days; an id is gone after two days for good."""
    for domain, table in erasure_world.tables(first, stop):
        day = table["timestamp"][0].as_py() // 86_400 - erasure_world.FIRST_DAY
        if domain == "ads" and day < first_ads:
            continue
        users = [
            int(raw.removeprefix("user-")) % USERS + NEW_USERS * day
            for raw in table["user_id"].to_pylist()
        ]
        items = table["item_id"].to_numpy() + NEW_ITEMS * day
        table = table.set_column(
            0, "user_id", pa.array([f"user-{n:06d}" for n in users])
        )
        yield domain, table.set_column(1, "item_id", pa.array(items))


def request(place, stage, **changes):
    """Return what a command asks for on `place/data` and `place/run`."""
    values = {"config": CONFIG, "users": None}
    if stage == "expire":
        values["unseen_days"] = UNSEEN_DAYS
    return dataclasses.replace(
        erasure_world.request(place, stage), **{**values, **changes}
    )


def raw_of(space, rows: np.ndarray) -> np.ndarray:
    """Return the raw ids of rows as text; those of unknown ids are "None"."""
    buckets = space.table.buckets
    names = np.array([*[None] * buckets, *space.ids, "-"], object).astype(str)
    return names[rows]  # The last one is that of unused places, -1.


def expire(path, unseen_days=UNSEEN_DAYS) -> expiring.Expiring:
    """Let ids expire from a data directory alone."""
    with erasing.opened(path, "letting ids expire"):
        data = data_directory.DataDirectory(path)
        begun = expiring.Expiring(data, unseen_days, DATE)
        if begun.any:
            begun.run({})
    return begun


def append(path, logs, spec=None):
    """Append days to a data directory."""
    converter.append_tables(
        spec or erasure_world.spec(), logs, path, progress=False
    )
