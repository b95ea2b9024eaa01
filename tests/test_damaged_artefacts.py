"""Files of artefacts that pages, exports and operation read may be damaged.

What levels read of each other is in `test_errors_of_artefacts`.
"""

import pathlib
import shutil

import pytest

from ecdctr_tf import artefacts, command_line, model_table, store
from ecdctr_tf import config as configs
from ecdctr_tf.export import evidence, model_card
from ecdctr_tf.operation import family, retention
from ecdctr_tf.results import coverage, mixtures, rescoring
from ecdctr_tf.results.models import Model, unscored
from ecdctr_tf.training import settings, workdir
from tests import trained, training_world
from tests.trained import CONFIG, day, days

pytestmark = pytest.mark.usefixtures("eagerly")

MODELS = ("e_cdctr", "ads_only", "cpm_only", "no_regret")
DAY = day(6)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("logs") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    run = trained.pretrained(data, tmp_path_factory.mktemp("whole") / "run")
    for name in MODELS:
        trained.train(data, run, days(5, 6), name=name)
    return run


@pytest.fixture
def run(whole, tmp_path):
    return trained.copy(whole, tmp_path / "run")


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_a_directory(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_that_of_another_day(path: pathlib.Path) -> None:
    other = path.parents[1] / day(5) / path.name
    if other.read_bytes() == path.read_bytes():
        # Such as a config, which says no day.
        path.write_bytes(other.read_bytes() + b"\n")
    else:
        shutil.copy(other, path)


HARM = {
    "flipped": flip,
    "cut": cut,
    "emptied": lambda path: path.write_bytes(b""),
    "removed": pathlib.Path.unlink,
    "a directory": replace_by_a_directory,
    "that of another day": replace_by_that_of_another_day,
}


def model(run, name) -> Model:
    row = model_table.model(name)
    return Model(row, configs.of_model(CONFIG, row), (run,))


def mixture_page(data, run):
    mixtures.sections(model(run, "no_regret"))


def scoring_again(data, run):
    spans = days(5, 6)
    list(rescoring.each(data, model(run, "e_cdctr"), run, spans))


def card(data, run):
    path = run.ctr("e_cdctr") / DAY
    model_card.write(run.path, 1, path, data, None, {})


def comparison_of_settings(data, run):
    settings.check(run.ctr("e_cdctr") / DAY, artefacts.CTR, CONFIG, False)


def clean(data, run):
    retention.clean(run, run.path / "export", CONFIG)


def gate(data, run):
    evidence.gather(run.ctr("no_regret") / DAY, data.path, None)


WEIGHTS = f"{artefacts.WEIGHTS}.data-00000-of-00001"
READERS = {
    mixture_page: f"no_regret/ctr/{DAY}/{artefacts.MIXTURE}",
    scoring_again: f"e_cdctr/ctr/{DAY}/{artefacts.CONFIG}",
    card: f"e_cdctr/ctr/{DAY}/{artefacts.CONFIG}",
    comparison_of_settings: f"e_cdctr/ctr/{DAY}/{artefacts.CONFIG}",
    clean: f"e_cdctr/ctr/{DAY}/{artefacts.CONFIG}",
    gate: f"e_cdctr/ctr/{DAY}/{WEIGHTS}",
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_damaged_file_is_named(data, run, read, harm):
    file = run.path / READERS[read]
    HARM[harm](file)
    before = training_world.tree(run.path)
    with pytest.raises((FileNotFoundError, ValueError)) as raised:
        read(data, run)
    line = command_line.one_line(raised.value)
    assert line.startswith(str(file))
    assert f"Delete {file.parent} to rebuild it" in line
    assert training_world.tree(run.path) == before


@pytest.mark.parametrize("harm", HARM)
def test_a_family_tree_says_what_is_damaged(run, harm):
    HARM[harm](run.ctr("e_cdctr") / DAY / artefacts.CONFIG)
    tree = family.trace(run.ctr("no_regret") / DAY)
    (expert,) = (p for p in tree.parents if p.role == "expert e_cdctr")
    assert expert.trouble.startswith("DAMAGED: ")
    assert artefacts.CONFIG in expert.trouble
    assert expert.config is None and expert.manifest is not None


@pytest.mark.parametrize(("names", "number"), [(["ads_only"], 5), (MODELS, 6)])
def test_a_report_says_which_days_it_lacks(data, run, names, number):
    """A day that was removed by hand, of a model or of all of them."""
    found = [model(run, name) for name in MODELS]
    # Days of ads after the last one that was trained on are not missed.
    assert unscored(data, found) == []
    for name in names:
        shutil.rmtree(run.ctr(name) / day(number))
    (note,) = unscored(data, found)
    assert note.endswith(f"which the numbers leave out: {day(number)}.")


@pytest.mark.parametrize("harmed", ["e_cdctr", "no_regret"])
def test_a_day_of_another_model_is_not_read_as_its_own(data, run, harmed):
    """As where somebody copied a day of one model to the other's place."""
    path = run.ctr(harmed) / DAY
    shutil.rmtree(path)
    shutil.copytree(run.ctr("ads_only") / DAY, path)
    said = f"{path} should be a day of {harmed}. Received one of ads_only"
    with pytest.raises(ValueError, match=said):
        model(run, harmed).scores(DAY)
    with pytest.raises(ValueError, match=said):
        artefacts.read_model(path, data)


def test_a_report_needs_the_versions_that_its_days_looked_up(data, run):
    """Without them it would say that history knows fewer rows."""
    models = [model(run, name) for name in MODELS]
    assert coverage.of_models(models, [day(5), DAY], data)
    version = run.historical / day(2)
    shutil.rmtree(version)
    with pytest.raises(FileNotFoundError, match=f"{version}.*is gone. Put it"):
        coverage.of_models(models, [day(5), DAY], data)


@pytest.mark.parametrize("name", [workdir.NEWEST, workdir.CLEANED])
def test_a_damaged_note_of_days_is_named(run, name):
    read = {workdir.NEWEST: workdir.newest, workdir.CLEANED: workdir.cleaned}
    directory = run.ctr("e_cdctr")
    for content in (b"", b"2024-13-01", b"\xff\0"):
        (directory / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} should hold a day"):
            read[name](directory)
    (directory / name).unlink()
    assert read[name](directory) == ""


def test_a_file_that_an_artefact_never_had_is_named(run):
    path = run.tpm / day(2)
    name = artefacts.MIXTURE
    with pytest.raises(FileNotFoundError, match=f"should have a {name}"):
        store.file(path, artefacts.TPM, name)
