"""Months of a few rows a day, of which a command sees what has come."""

import dataclasses
import pathlib

import numpy as np

from ecdctr_tf import config as configs
from ecdctr_tf import windows
from ecdctr_tf.input import data_directory, id_space
from ecdctr_tf.request import Request
from tests import training_world

FIRST = "2024-01-01"
# Ads begin nine days after the natural logs.
FIRST_ADS = 9
ROWS = {"natural": 16, "ads": 12}
_USERS, _ITEMS = 400, 9

# A TPM each ten days, a CPM each five, an A-CTR each day.
CONFIG = configs.override(
    training_world.SMALL_CONFIG,
    [
        "model.hidden_units=2",
        "model.cross_layers=0",
        "schedule.tpm_days=10",
        "schedule.cpm_days=5",
        "schedule.cpm_every=5",
        "clock.tpm_ages=15,25",
        "clock.cpm_ages=8,15",
        "gate.share=0",
    ],
)


def day(number: int) -> str:
    """Return a day, counted from 0."""
    return windows.plus(FIRST, number)


class World:
    """A data directory that days are added to.

    Args:
      path: the data directory.
      cut: from this day on the logs are others, with users of their own.
    """

    def __init__(self, path: pathlib.Path, cut: str = "9999-01-01"):
        path.mkdir(parents=True)
        self.path = path
        self.cut = cut
        training_world.SMALL_SPEC.save(path / data_directory.SPEC)
        for table, count in zip(
            training_world.SMALL_SPEC.tables, (_USERS, _ITEMS), strict=True
        ):
            space = id_space.new(table)
            space.append(np.arange(count))
            space.save(path / "ids")

    def add(self, domain: str, date: str, rows: int | None = None) -> None:
        """Write a day; its rows do not depend on what is there already.

        Args:
          domain: "natural" or "ads".
          date: the day.
          rows: how many there are; by default all.
        """
        count = ROWS[domain] if rows is None else rows
        other = date >= self.cut
        number = windows.day_number(date)
        since = number - windows.day_number(FIRST)
        rng = np.random.default_rng([number, len(domain), other])
        # A user more each day.
        users = 12 + since + 100 * other
        columns = {
            "user_id": rng.integers(1, users, count).astype(np.int32),
            "item_id": rng.integers(1, _ITEMS, count).astype(np.int32),
            "price": rng.random(count).astype(np.float32),
            "click": (rng.random(count) < 0.4).astype(np.float32),
            "timestamp": number * 86_400 + np.arange(count),
        }
        columns["click"][:2] = [0, 1][:count]
        data = data_directory.DataDirectory(self.path)
        used = {"user": users, "item": _ITEMS}
        data.write_day(domain, date, [columns] if count else [], used)

    def fill(self, last: int) -> "World":
        """Write all days up to one."""
        for number in range(last + 1):
            self.add("natural", day(number))
            if number >= FIRST_ADS:
                self.add("ads", day(number))
        return self

    def request(self, workdir: pathlib.Path, **changes) -> Request:
        """Return what a command asks for."""
        settings = changes.pop("settings", ())
        return dataclasses.replace(
            Request(
                stage="auto",
                data_dir=self.path,
                workdir=workdir,
                config=configs.override(CONFIG, list(settings)),
                models=("e_cdctr",),
            ),
            **changes,
        )
