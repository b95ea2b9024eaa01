"""The one table of models: names, origins, networks."""

import pytest

from ecdctr_tf import artefacts, model_table
from ecdctr_tf.models.ctr_model import CTRModel


def test_models_are_found_by_name_each_once():
    rows = model_table.chosen(["keep", "e_cdctr", "keep"])
    assert [row.name for row in rows] == ["keep", "e_cdctr"]
    assert model_table.model("star").label == "STAR"


def test_unknown_names_are_rejected():
    """A misspelt E-CDCTR is not taken for another model."""
    message = "Unknown model 'e_cdtcr'. The models are e_cdctr, paper, ads_only"
    for ask in (model_table.model, lambda name: model_table.chosen([name])):
        with pytest.raises(ValueError, match=message):
            ask("e_cdtcr")


def test_no_models_are_rejected():
    """They would train nothing and look like success."""
    with pytest.raises(ValueError, match="--models is empty. Name any of e_c"):
        model_table.chosen([])


def test_unknown_origins_are_rejected():
    with pytest.raises(ValueError, match="`origin`.*'mine'.*'from_nowhere'"):
        model_table.ModelRow("mine", "Mine", "none", origin="from_nowhere")


@pytest.mark.parametrize(
    "row", model_table.MODELS.values(), ids=lambda r: r.name
)
def test_every_network_is_there_and_a_cpm_is_the_usual_one(row):
    assert issubclass(artefacts.network(row, artefacts.CTR), CTRModel)
    assert artefacts.network(row, artefacts.CPM) is CTRModel
    assert row.has_cpm == (row.origin in ("from_cpm", "beside_cpm"))
