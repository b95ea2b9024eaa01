"""CPM only: what the newest CPM says of ads, without learning from them."""

import numpy as np
import pytest

from ecdctr_tf import artefacts, metrics
from ecdctr_tf.transfer import checkpoint
from tests import trained, training_world

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("logs") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A second CPM arrives on day 6."""
    run = trained.pretrained(data, tmp_path_factory.mktemp("only") / "run")
    trained.train(data, run, trained.days(5, 6), name="cpm_only")
    trained.train_natural(data, run, "cpm", 5, 6)
    return trained.train(data, run, trained.days(5, 8), name="cpm_only")


def weights(path):
    return checkpoint.read(path / artefacts.WEIGHTS)


@pytest.mark.parametrize("number, cpm", [(5, 4), (6, 4), (7, 6), (8, 6)])
def test_its_weights_are_those_of_the_newest_cpm_but_for_the_bias(
    run, number, cpm
):
    mine = weights(run.ctr("cpm_only") / trained.day(number))
    of_cpm = weights(run.cpm("cpm_only") / trained.day(cpm))
    assert set(mine) == set(of_cpm)
    for name, value in mine.items():
        if name != "head/bias" and "moving" not in name:
            known = tuple(slice(n) for n in np.shape(of_cpm[name])[:1])
            np.testing.assert_array_equal(
                np.asarray(value)[known], of_cpm[name], name
            )


def test_it_predicts_the_click_rate_of_the_ads_before(data, run):
    """Day 6 knows day 5 only, whose click rate is not that of day 6."""
    before = trained.scores(run, 5, "cpm_only")
    model = artefacts.read_model(run.ctr("cpm_only") / trained.day(6), data)
    kept = artefacts.read_model(run.ctr("cpm_only") / trained.day(5), data)
    assert model.head.bias.numpy() == kept.head.bias.numpy()
    third = trained.scores(run, 7, "cpm_only")
    assert not np.allclose(before["ctr"].mean(), third["ctr"].mean())


def test_days_train_on_no_rows(run):
    for number in range(5, 9):
        manifest = trained.manifest(run, number, "cpm_only")
        assert manifest.metrics["trained_rows"] == manifest.rows == 0
        scores = trained.scores(run, number, "cpm_only")
        assert manifest.metrics["auc"] == metrics.auc(
            scores["click"], scores["ctr"]
        )
