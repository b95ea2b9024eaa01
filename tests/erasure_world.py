"""Logs of 160 users with long ids, and a run on them, for tests of erasure."""

import os
import pathlib

import numpy as np
import pyarrow as pa

from ecdctr_tf import config as configs
from ecdctr_tf.input import data_directory
from ecdctr_tf.input.conversion import converter, toml_spec
from ecdctr_tf.request import Request
from tests import training_world

FIRST_DAY = 19_723  # 2024-01-01
DAYS, FIRST_ADS = 6, 2
USERS, ITEMS = 160, 12
# Rows of a day of either domain.
ROWS = {"natural": 150, "ads": 100}
ERASED = [f"user-{n:06d}" for n in range(20, 120)]
CONFIG = configs.override(
    training_world.SMALL_CONFIG,
    [
        "tpm.batch_size=256",
        "cpm.batch_size=256",
        "ctr.batch_size=128",
        "schedule.tpm_days=2",
        "schedule.cpm_days=2",
        "schedule.catch_up_days=1",
        "serving.candidates=1",
        "gate.share=0",
    ],
)


def spec(**changes) -> toml_spec.ConversionSpec:
    """Return a spec with all that a conversion remembers of users."""
    values = {
        "tables": [
            {"name": "user", "dtype": "string"},
            {"name": "item"},
        ],
        "features": [
            {
                "name": "user_id",
                "table": "user",
                "side": "user",
                "basic": True,
            },
            {
                "name": "item_id",
                "table": "item",
                "side": "item",
                "basic": True,
            },
        ],
        "sequences": [{"name": "clicked", "table": "item", "max_length": 3}],
        "counts": [
            {"name": "popular", "of": ["item_id"], "side": "item"},
            {"name": "active", "of": ["user_id"], "window_days": 2},
            {"name": "again", "of": ["user_id", "item_id"]},
            {"name": "fans", "of": ["item_id", "user_id"]},
        ],
        "ages": [{"name": "age"}],
    }
    return toml_spec.from_dict({**values, **changes})


def tables(first: int = 0, stop: int = DAYS, clicks_only: str = ""):
    """Yield the logs of days, counted from 0; the odds of users differ."""
    taste = np.random.default_rng(7).normal(0, 1.5, [USERS, ITEMS])
    for day in range(first, stop):
        for domain, count in ROWS.items():
            if domain == "ads" and day < FIRST_ADS:
                continue
            rng = np.random.default_rng([day, len(domain)])
            user = rng.integers(0, USERS, count)
            item = rng.integers(0, ITEMS, count)
            odds = np.exp(taste[user, item] - 1)
            seconds = np.sort(rng.integers(0, 86_400, count))
            columns = {
                "user_id": [f"user-{n:06d}" for n in user],
                "item_id": item,
                "timestamp": (FIRST_DAY + day) * 86_400 + seconds,
            }
            if domain != clicks_only:
                columns["click"] = (rng.random(count) < odds / (1 + odds)) * 1
            yield domain, pa.table(columns)


def converted(path: pathlib.Path, given=None, **options) -> pathlib.Path:
    """Write the data directory of the world."""
    converter.convert_tables(
        given or spec(),
        options.pop("logs", tables()),
        path,
        progress=False,
        **options,
    )
    return path


def request(place: pathlib.Path, stage: str, **changes) -> Request:
    """Return what a command asks for on `place/data` and `place/run`."""
    values = {
        "data_dir": place / "data",
        "workdir": place / "run",
        "config": CONFIG,
        "models": ("e_cdctr",),
        "users": place / "users.txt",
    }
    return Request(stage=stage, **{**values, **changes})


def write_users(place: pathlib.Path, ids=ERASED) -> None:
    (place / "users.txt").write_text("".join(f"{i}\n" for i in ids))


def opened(place: pathlib.Path) -> data_directory.DataDirectory:
    return data_directory.DataDirectory(place / "data")


RENAME = os.rename


def counted_renames(monkeypatch, stop=-1):
    """Count renames, yield their number; raise at the number `stop`."""
    done = 0

    def rename(*paths):
        nonlocal done
        if done == stop:
            raise KeyboardInterrupt
        done += 1
        RENAME(*paths)

    monkeypatch.setattr(os, "rename", rename)

    def number():
        yield done

    return number()
