"""Versions of a served model: published once, taken back, kept in number."""

import pathlib
import shutil

import pytest

from ecdctr_tf import artefacts, export, store, windows
from ecdctr_tf.export import saved_model, versions

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


@pytest.fixture
def run(tmp_path) -> dict[str, pathlib.Path]:
    """Published days by name."""
    return {day: publish_day(tmp_path / "ctr" / day) for day in DAYS}


@pytest.fixture
def served(tmp_path) -> pathlib.Path:
    return tmp_path / "export"


@pytest.fixture(autouse=True)
def written(monkeypatch) -> list[int]:
    """The numbers of the versions that were written, without their graphs."""
    found = []

    def write(artefact, data_dir, export_dir, version, *more, **options):
        target = export_dir / str(version)
        manifest = store.Manifest("export")
        with store.publish(target, manifest) as staging:
            manifest.parents = {"artefact": store.parent(artefact, target)}
            (staging / "saved_model.pb").write_bytes(b"0123456789")
        found.append(version)

    monkeypatch.setattr(saved_model, "export_model", write)
    return found


def publish_day(path: pathlib.Path, rows: int = 1) -> pathlib.Path:
    window = windows.Window(path.name, path.name)
    manifest = store.Manifest(artefacts.CTR, window, rows=rows)
    with store.publish(path, manifest):
        return path


def publish(run, served, day, **options) -> str:
    return export.publish(run[day], pathlib.Path("data"), served, **options)


def publish_all(run, served, **options) -> None:
    for day in DAYS:
        publish(run, served, day, **options)


def test_a_day_is_published_once(run, served, written):
    for _ in range(2):
        said = publish(run, served, DAYS[0])
        assert said == f"exported {run[DAYS[0]]} to {served / '20240101'}"
    assert written == [20240101]


def test_a_damaged_version_is_not_called_exported(run, served, written):
    publish(run, served, DAYS[0])
    file = served / "20240101/saved_model.pb"
    for damage in (lambda: file.write_bytes(b"9876543210"), file.unlink):
        damage()
        with pytest.raises((FileNotFoundError, ValueError), match=str(file)):
            publish(run, served, DAYS[0])
    shutil.rmtree(file.parent)
    publish(run, served, DAYS[0])
    assert written == [20240101] * 2


def test_numbers_of_choice_for_several_versions_a_day(run, served, written):
    for hour in (1, 13):
        publish(run, served, DAYS[0], version=2024010100 + hour)
    assert versions.numbers(served) == [2024010101, 2024010113]
    # Tomorrow's 20240102 would never be served.
    with pytest.raises(ValueError, match="as many digits as .* 2024010113"):
        publish(run, served, DAYS[1])
    assert len(written) == 2


def test_an_older_day_is_said_not_to_be_served(run, served, caplog):
    publish(run, served, DAYS[1])
    publish(run, served, DAYS[0])
    assert "20240102 is there already" in caplog.text


def test_a_version_rolled_back_stays_away(run, served, written):
    publish_all(run, served)
    assert export.roll_back(served, "CTR fell") == (20240103, 20240102)
    assert versions.numbers(served) == [20240101, 20240102]
    said = publish(run, served, DAYS[2])
    assert "version 20240103 of it was rolled back at" in said
    assert "(CTR fell)" in said
    assert versions.numbers(served) == [20240101, 20240102]
    assert len(written) == len(DAYS)


def test_a_day_rolled_back_may_be_published_on_purpose(run, served):
    publish_all(run, served)
    export.roll_back(served)
    with pytest.raises(ValueError, match="20240103 was rolled back at"):
        publish(run, served, DAYS[2], version=20240103)
    publish(run, served, DAYS[2], version=20240104)
    # It stays, whatever command comes next.
    publish(run, served, DAYS[1])
    assert versions.numbers(served)[-1] == 20240104


def test_a_day_trained_anew_needs_another_number(run, served):
    """People know the number as that of the version that was rolled back."""
    publish_all(run, served)
    export.roll_back(served)
    store.remove(run[DAYS[2]])
    publish_day(run[DAYS[2]], rows=2)
    said = publish(run, served, DAYS[2])
    assert "version 20240103 of it as it was before was rolled back" in said
    assert versions.numbers(served) == [20240101, 20240102]
    publish(run, served, DAYS[2], version=20240104)
    assert versions.numbers(served)[-1] == 20240104


def test_several_versions_are_rolled_back(run, served):
    publish_all(run, served)
    export.roll_back(served)
    assert export.roll_back(served) == (20240102, 20240101)
    assert sorted(versions.withdrawn(served)) == [20240102, 20240103]
    with pytest.raises(FileNotFoundError, match=r"It holds \[20240101\]"):
        export.roll_back(served)


def test_a_rollback_that_was_killed_is_finished(run, served, monkeypatch):
    publish_all(run, served)
    with monkeypatch.context() as patched:
        patched.setattr(store, "remove", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export.roll_back(served)
    assert versions.numbers(served)[-1] == 20240103
    publish(run, served, DAYS[1])
    assert versions.numbers(served)[-1] == 20240102


def test_a_server_does_not_return_to_a_damaged_version(run, served):
    publish_all(run, served)
    file = served / "20240102/saved_model.pb"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{file} has 9 bytes"):
        export.roll_back(served)
    assert versions.numbers(served)[-1] == 20240103
    assert versions.withdrawn(served) == {}
    # The operator goes further back.
    shutil.rmtree(file.parent)
    assert export.roll_back(served) == (20240103, 20240101)


def test_nothing_to_roll_back(run, served):
    with pytest.raises(FileNotFoundError, match="no version to take back"):
        export.roll_back(served)
    assert not served.exists()


def test_old_versions_are_retired(run, served):
    publish_all(run, served, keep=2)
    assert versions.numbers(served) == [20240102, 20240103]
    with pytest.raises(ValueError, match="newest version is never removed"):
        versions.retire(served, 0)


def test_damaged_memory_is_an_error(run, served):
    publish_all(run, served)
    for text in ("", "[]", '{"x": {}}', '{"20240103": {"why": ""}}'):
        (served / versions.WITHDRAWN).write_text(text)
        with pytest.raises(ValueError, match="Restore it; delete it only if"):
            publish(run, served, DAYS[2])


def test_one_writer_at_a_time(run, served):
    publish_all(run, served)
    with store.lock(served, "exporting"):
        with pytest.raises(ValueError, match="exporting"):
            export.roll_back(served)
    assert versions.numbers(served)[-1] == 20240103


def test_files_beside_versions_are_none(run, served):
    assert versions.numbers(served) == []
    publish(run, served, DAYS[0])
    (served / "notes").mkdir()
    (served / "20240199").touch()
    assert versions.numbers(served) == [20240101]
