"""What a model card says of a small E-CDCTR, against what it was made from."""

import re

import numpy as np
import pytest

from ecdctr_tf import artefacts, export
from ecdctr_tf import config as configs
from ecdctr_tf.export import model_card
from ecdctr_tf.training.workdir import Workdir
from tests import training_world
from tests.trained import CONFIG, day, days, manifest, pretrained, scores, train

LAST = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("card") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Workdir:
    path = tmp_path_factory.mktemp("card") / "run"
    config = configs.override(CONFIG, ["gate.least_rows=1"])
    return train(data, pretrained(data, path), days(5, LAST), config)


@pytest.fixture(scope="module")
def extra(data, run, tmp_path_factory):
    """`assets.extra` of a version that the gate let by."""
    served = tmp_path_factory.mktemp("card") / "export"
    artefact = run.ctr("e_cdctr") / day(LAST)
    export.publish(artefact, data.path, served, bounds=configs.GateConfig())
    (version,) = served.glob("2*")
    return version / "assets.extra"


@pytest.fixture(scope="module")
def card(extra) -> str:
    return (extra / f"{model_card.NAME}.md").read_text()


def table(card, title) -> dict[str, list[str]]:
    """Return the rows of a section's table by their first cell."""
    section = card.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [x for x in section.splitlines() if x.startswith("|")][2:]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return {name: cells for name, *cells in rows}


def test_days_of_each_level(card):
    found = table(card, "Data")
    assert found["TPM"][:2] == [day(1), day(2)]
    assert found["CPM, e_cdctr"][:2] == [day(3), day(4)]
    assert found["A-CTR, e_cdctr"][1] == day(LAST)


def test_metrics_are_those_of_the_day_as_it_was_scored(card, run):
    rows, auc, *_ = table(card, "Metrics")[
        f"{day(LAST)}, before it was learned"
    ]
    assert int(rows) == len(scores(run, LAST)["click"])
    assert auc.startswith(f"{manifest(run, LAST).metrics['auc']:.4f}")
    held = table(card, "Metrics")["rows held out, candidate"]
    assert int(held[0]) == len(
        artefacts.read_scores(
            run.ctr("e_cdctr") / day(LAST), artefacts.HELD_OUT
        )["click"]
    )


def test_slices_are_of_all_rows(card, data, run):
    found = {
        k: int(v[0]) for k, v in table(card, "Slices of the scored day").items()
    }
    user = scores(run, LAST)["user"]
    new = int((user >= data.table_rows(day(LAST - 1))["user"]).sum())
    assert found["user first seen that day"] == new
    for role in ("user", "item"):
        parts = [f"{role} first seen that day", f"{role} seen before"]
        assert sum(found[part] for part in parts) == len(user)
        parts = [f"{role} with history", f"{role} without history"]
        assert sum(found[part] for part in parts) == len(user)


def test_groups_add_up_to_the_day(card, run):
    rows, predicted, clicked = np.array(
        list(table(card, "Calibration").values()), float
    ).T
    day_of = scores(run, LAST)
    assert rows.sum() == len(day_of["click"])
    assert rows @ predicted == pytest.approx(day_of["ctr"].sum(), rel=1e-3)
    assert rows @ clicked == pytest.approx(day_of["click"].sum(), abs=0.1)
    assert np.all(np.diff(predicted) >= 0)


def test_groups_weigh_their_rows():
    scored = model_card.ScoredDay(
        day(1),
        np.array([0, 1, 1, 0], np.float32),
        {},
        {"a": [np.array([0.1, 0.2, 0.3, 0.9])]},
        weight=np.array([1, 3, 0, 2], np.float32),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_card, "_GROUPS", 2)
        predicted, clicked, rows = model_card._groups(scored)
    assert rows == [2, 1]
    assert predicted == pytest.approx([0.175, 0.9])
    assert clicked == pytest.approx([0.75, 0])


def test_the_page_has_the_plot_and_needs_no_other_file(extra):
    html = (extra / f"{model_card.NAME}.html").read_text()
    assert "<svg" in html and "Model card: E-CDCTR, version 20240106" in html
    assert not re.search(r'(src|href)="(?!#)', html)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (None, "No gate looked at this version"),
        ({"forced": True}, "although the gate refused it"),
    ],
)
def test_the_card_says_first_what_the_gate_did_not_find(gate, said):
    (note,) = model_card._notes(gate)
    assert said in note
    assert model_card._notes({"forced": False}) == []
