"""Batch sizes from the rows of the first days."""

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import model_table, store
from ecdctr_tf.training import batches, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from ecdctr_tf.windows import Window
from tests import training_world


class Data:
    """A data directory that has so many rows a day."""

    def __init__(self, **rows):
        self._rows = rows

    def rows(self, domain, window):
        return self._rows[domain] * len(window.days)


WEEK = Window("2024-01-01", "2024-01-07")
DAY = Window("2024-01-08", "2024-01-08")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(8_000, 128), (20_000, 512), (64_000, 1024), (10**7, 4096), (10, 16)],
)
@pytest.mark.parametrize("window", [WEEK, DAY])
def test_natural_windows(rows, expected, window):
    """A longer window has more steps, not larger ones."""
    assert batches.size(Data(natural=rows), {"natural": window}) == expected


@pytest.mark.parametrize(
    ("rows", "expected"), [(800, 16), (1_500, 32), (19_174, 512), (1, 16)]
)
def test_days_of_ads(rows, expected):
    assert batches.size(Data(ads=rows), {"ads": DAY}) == expected


def test_both_domains_together():
    data = Data(natural=8_000, ads=1_000)
    assert batches.size(data, {"natural": WEEK, "ads": DAY}) == 256


def test_a_level_keeps_the_size_it_began_with(tmp_path, monkeypatch):
    """Days that grow do not change it, nor does another process."""
    data = training_world.small_data(tmp_path / "data")
    config = configs.override(training_world.SMALL_CONFIG, ["tpm.batch_size=0"])
    run, row = Workdir(tmp_path / "run"), model_table.model("e_cdctr")
    days = training_world.SMALL_NATURAL.split(2)
    made = []
    for window in days[:2]:
        level = Level(data, run, config, row, "snapshot")
        path = natural.train(level, window)
        made.append(store.read_manifest(path, "snapshot").config["batch_size"])
        monkeypatch.setattr(batches, "size", lambda data, parts: 999)
    assert made == [16, 16]
