"""Batch sizes from the rows of the first days."""

import pytest

from ecdctr_tf import config as configs
from ecdctr_tf import model_table, store
from ecdctr_tf.training import batches, natural
from ecdctr_tf.training.level import Level
from ecdctr_tf.training.workdir import Workdir
from tests import training_world


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(8_000, 128), (20_000, 512), (64_000, 1024), (10**7, 4096), (10, 16)],
)
def test_natural_windows(rows, expected):
    assert batches.size({"natural": rows}) == expected


@pytest.mark.parametrize(
    ("rows", "expected"), [(800, 16), (1_500, 32), (19_174, 512), (1, 16)]
)
def test_days_of_ads(rows, expected):
    assert batches.size({"ads": rows}) == expected


def test_both_domains_together():
    assert batches.size({"natural": 8_000, "ads": 1_000}) == 256


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
        monkeypatch.setattr(batches, "size", lambda rows: 999)
    assert made == [16, 16]
