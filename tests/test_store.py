import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from ecdctr_tf import store, windows


def test_publish_records_what_it_wrote(artefact):
    manifest = store.verify(artefact, "snapshot")
    assert manifest.window == windows.Window("2024-01-01", "2024-01-31")
    assert manifest.rows == 7
    # SHA-256 of "0123456789", from another program (sha256sum).
    digest = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    assert manifest.files == {"table.bin": {"bytes": 10, "sha256": digest}}


def test_publish_hashes_files_of_subdirectories(tmp_path):
    with store.publish(tmp_path / "a", store.Manifest("export")) as staging:
        (staging / "variables").mkdir()
        (staging / "variables" / "data").write_text("x")
    files = store.read_manifest(tmp_path / "a", "export").files
    assert list(files) == ["variables/data"]


def test_publish_shows_nothing_before_its_end(tmp_path):
    with store.publish(tmp_path / "a", store.Manifest("cpm")) as staging:
        (staging / "half").write_text("x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "half").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_inside_publish_leaves_nothing(tmp_path, error):
    with pytest.raises(error, match="stop"):
        with store.publish(tmp_path / "a", store.Manifest("cpm")) as staging:
            (staging / "half").write_text("x")
            raise error("stop")
    assert list(tmp_path.iterdir()) == []


def test_publish_over_an_artefact_raises(artefact):
    with pytest.raises(FileExistsError, match="was published before"):
        with store.publish(artefact, store.Manifest("snapshot")):
            pass
    store.verify(artefact, "snapshot")


def test_second_of_two_writers_raises_and_leaves_the_first(tmp_path):
    with pytest.raises(OSError):
        with store.publish(tmp_path / "a", store.Manifest("cpm")) as slow:
            (slow / "x").write_text("slow")
            with store.publish(tmp_path / "a", store.Manifest("cpm")) as fast:
                (fast / "x").write_text("fast")
    assert (tmp_path / "a" / "x").read_text() == "fast"
    assert [child.name for child in tmp_path.iterdir()] == ["a"]


def test_killed_writer_leaves_nothing_that_readers_see(artefact):
    directory = artefact.parent
    program = f"""
        import os
        from ecdctr_tf import store
        place = {str(directory / "2024-02-29")!r}
        with store.publish(place, store.Manifest("snapshot")) as staging:
            (staging / "table.bin").write_text("half")
            (staging / "manifest.json").write_text("half")
            os._exit(9)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert ended.returncode == 9
    assert len(list(directory.iterdir())) == 2
    assert store.dated(directory) == ["2024-01-31"]
    with pytest.raises(FileNotFoundError, match="There is no snapshot"):
        store.read_manifest(directory / "2024-02-29", "snapshot")
    store.sweep(directory)
    assert [child.name for child in directory.iterdir()] == ["2024-01-31"]
    store.verify(artefact, "snapshot")


def test_dated_is_in_order_and_ignores_files(tmp_path):
    for day in ("2024-01-10", "2024-01-09", "2023-12-31"):
        with store.publish(tmp_path / day, store.Manifest("tpm")):
            pass
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert store.dated(tmp_path) == ["2023-12-31", "2024-01-09", "2024-01-10"]
    assert store.dated(tmp_path / "nowhere") == []


def test_verify_finds_truncated_file(artefact):
    os.truncate(artefact / "table.bin", 9)
    with pytest.raises(ValueError, match="has 9 bytes; 10 were published"):
        store.verify(artefact, "snapshot")


def test_verify_finds_flipped_bit(artefact):
    content = bytearray((artefact / "table.bin").read_bytes())
    content[4] ^= 1
    (artefact / "table.bin").write_bytes(content)
    with pytest.raises(ValueError, match="table.bin is damaged"):
        store.verify(artefact, "snapshot")


def test_verify_finds_missing_file(artefact):
    (artefact / "table.bin").unlink()
    with pytest.raises(FileNotFoundError, match="table.bin is listed in"):
        store.verify(artefact, "snapshot")


def test_read_manifest_of_another_kind_raises(artefact):
    for reader in (store.read_manifest, store.verify):
        with pytest.raises(ValueError, match="of kind 'cpm'.*'snapshot'"):
            reader(artefact, "cpm")


@pytest.mark.parametrize(
    "name", ["2024-1-1", "2024-02-30", "copy of 2024-01-31", "20240131 x"]
)
def test_dated_rejects_directories_that_are_not_days(artefact, name):
    shutil.copytree(artefact, artefact.parent / name)
    with pytest.raises(ValueError, match=f"Received: '{name}'. Move it"):
        store.dated(artefact.parent)


def test_dated_rejects_artefacts_without_manifest(artefact):
    (artefact / store.MANIFEST).unlink()
    message = f"{artefact} is not an artefact: its manifest.json is missing"
    with pytest.raises(ValueError, match=message):
        store.dated(artefact.parent)


def _with(**changes):
    return json.dumps({"kind": "snapshot", **changes})


WRONG = [
    *("", "{", "[1]", "null", "{}", "7", "[" * 10**5, "{" * 10**5),
    *(_with(colour=1), _with(kind=5), _with(rows="7"), _with(rows=1.5)),
    *(_with(rows=True), _with(spec=None), _with(window=[]), _with(window=1)),
    *(_with(window={"first": "2024-01-01"}), _with(ids=[]), _with(ids=None)),
    *(_with(window={"first": "2024-01-02", "last": "2024-01-01"}),),
    *(_with(window={"first": 1, "last": 2}), _with(ids={"user": 7})),
    *(_with(ids={"user": {}}), _with(ids={"user": {"rows": "7"}})),
    *(_with(parents=[]), _with(parents={"cpm": "x"}), _with(config=None)),
    *(_with(config=[]), _with(metrics=[]), _with(metrics=None)),
    *(_with(files=[]), _with(files=None), _with(files={"x": None})),
    *(_with(files={"x": {"bytes": 1}}), _with(files={"x": {"sha256": "a"}})),
    *(_with(files={"../x": {"bytes": 1, "sha256": "a"}}),),
    *(_with(files={"/etc/passwd": {"bytes": 1, "sha256": "a"}}),),
    *('{"kind": "snapshot", "metrics": {"auc": NaN}}', "9" * 10**5),
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_read_manifest_of_other_text_raises(artefact, text):
    (artefact / store.MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="manifest.json is not a manifest"):
        store.read_manifest(artefact, "snapshot")


def test_read_manifest_names_the_fields_that_are_missing(artefact):
    (artefact / store.MANIFEST).write_text(
        '{"kind": "snapshot", "rows": 1, "spec": "", "metrics": {}}'
    )
    with pytest.raises(ValueError, match="lacks config, files, ids"):
        store.read_manifest(artefact, "snapshot")


def test_verify_of_some_files_passes_over_others(tmp_path):
    with store.publish(tmp_path / "a", store.Manifest("cpm")) as staging:
        for name in ("curve.json", "weights"):
            (staging / name).write_text("[]")
    (tmp_path / "a/weights").unlink()
    names = ["curve.json", "never-had"]
    assert store.verify(tmp_path / "a", "cpm", names).kind == "cpm"
    (tmp_path / "a/curve.json").write_text("[1]")
    with pytest.raises(ValueError, match="curve.json has 3 bytes"):
        store.verify(tmp_path / "a", "cpm", names)


def test_read_manifest_of_other_bytes_raises(artefact):
    (artefact / store.MANIFEST).write_bytes(b'{"kind": "\xff"}')
    with pytest.raises(ValueError, match="manifest.json is not a manifest"):
        store.read_manifest(artefact, "snapshot")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_never_published(tmp_path, value):
    manifest = store.Manifest("ctr", metrics={"days": [{"auc": value}]})
    message = f"`metrics.days.0.auc` of .* ctr artefact.*Received: {value}"
    with pytest.raises(ValueError, match=message):
        with store.publish(tmp_path / "a", manifest):
            pass
    assert list(tmp_path.iterdir()) == []


def test_manifest_survives_json():
    manifest = store.Manifest(
        kind="ctr",
        window=windows.Window("2024-01-01", "2024-01-02"),
        rows=3,
        spec="abc",
        ids={"user": {"rows": 2, "sha256": "d"}},
        parents={"cpm": {"path": "cpm/2024-01-01", "manifest": "e"}},
        config={"seed": 0},
        metrics={"auc": 0.5},
        files={"f": {"bytes": 1, "sha256": "g"}},
    )
    assert store.Manifest.from_json(manifest.to_json()) == manifest


def test_write_text_replaces_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "ids" / "user.txt"
    store.write_text(path, "old\n")
    store.write_text(path, "neu ä\n")
    assert path.read_bytes() == "neu ä\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_sweep_removes_leftover_files_and_keeps_the_rest(tmp_path):
    (tmp_path / ".staging-1234").write_text("")
    (tmp_path / "spec.json").write_text("")
    store.sweep(tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == ["spec.json"]


def test_parent_names_a_place_and_a_state(artefact, tmp_path):
    entry = store.parent(artefact, tmp_path)
    assert entry["path"] == "tpm/2024-01-31"
    assert entry["manifest"] == store.file_hash(artefact / store.MANIFEST)
    (artefact / store.MANIFEST).write_text("{}")
    assert store.parent(artefact, tmp_path)["manifest"] != entry["manifest"]
