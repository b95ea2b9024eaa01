"""Family trees: what an artefact was made from, and what has become of it."""

import io
import json
import shutil

import pytest
import rich.console

from ecdctr_tf import config as configs
from ecdctr_tf import store, windows
from ecdctr_tf.operation import family
from ecdctr_tf.store import revisions

WEEK = windows.Window("2024-01-01", "2024-01-07")
CONFIG = configs.override(
    configs.Config(), ["seed=3", "cpm.l2=0.5", "sources.exclude=video,search"]
)


@pytest.fixture
def run(tmp_path):
    """Two snapshots, a historical version, two CPMs, an A-CTR day, an export.

    The export's lineage remembers its day, and the newest CPM.
    """
    first = publish(tmp_path, "tpm/2024-01-03", "snapshot")
    second = publish(tmp_path, "tpm/2024-01-06", "snapshot", last=first)
    version = publish(
        tmp_path,
        "historical/2024-01-06",
        "historical",
        **{"snapshot 2024-01-03": first, "snapshot 2024-01-06": second},
    )
    older = publish(tmp_path, "m/cpm/2024-01-06", "cpm", historical=version)
    cpm = publish(tmp_path, "m/cpm/2024-01-07", "cpm", last=older)
    publish(tmp_path, "m/ctr/2024-01-07", "ctr")
    day = publish(tmp_path, "m/ctr/2024-01-08", "ctr", cpm=cpm)
    publish(tmp_path, "export/20240108", "export", artefact=day)
    return tmp_path


def publish(root, name, kind, **parents):
    path = root / name
    last = WEEK.last if kind == "export" else path.name
    days = windows.Window(WEEK.first, last)
    manifest = store.Manifest(
        kind, days, 70, metrics={"auc": 0.75}, config={"model": "e_cdctr"}
    )
    with store.publish(path, manifest) as staging:
        manifest.parents = {
            r: store.parent(p, path) for r, p in parents.items()
        }
        if kind == "export":
            ancestors = {}
            for parent in (parents["artefact"], root / "m/cpm/2024-01-07"):
                file = parent / store.MANIFEST
                entry = json.loads(file.read_text())
                del entry["files"], entry[store.HASH]
                ancestors[store.file_hash(file)] = {"path": "", **entry}
            lineage = {
                "ancestors": ancestors,
                "config": json.loads(CONFIG.to_json()),
            }
            text = json.dumps(lineage)
            store.write_text(staging / "assets.extra/lineage.json", text)
        elif kind != "historical":
            (staging / "config.json").write_text(CONFIG.to_json())
    return path


def outline(member):
    """Return `(role, name, trouble, parents)`, without repeated parents."""
    name = f"{member.path.parent.name}/{member.path.name}"
    parents = [outline(parent) for parent in member.parents]
    return member.role, name, member.trouble[:8], parents


def test_the_tree_goes_back_to_the_snapshots(run):
    (artefact,) = outline(family.trace(run / "export/20240108"))[3]
    assert artefact[:3] == ("artefact", "ctr/2024-01-08", "")
    ((_, name, _, of_cpm),) = artefact[3]
    assert name == "cpm/2024-01-07"
    # What a level went on from stands in a row, with its own parents.
    ((last, older, _, of_older),) = of_cpm
    assert (last, older) == ("last", "cpm/2024-01-06")
    ((_, _, _, of_version),) = of_older
    assert [name for _, name, _, _ in of_version] == [
        "tpm/2024-01-03",
        "tpm/2024-01-06",
    ]


def test_a_file_in_an_artefact_stands_for_it(run):
    day = run / "m/ctr/2024-01-08"
    assert family.trace(day / "config.json").path == day


def test_a_long_chain_of_a_level_is_a_row(tmp_path):
    path = publish(tmp_path, "cpm/2024-01-01", "cpm")
    for number in range(2, 31):
        day = f"cpm/2024-01-{number:02d}"
        path = publish(tmp_path, day, "cpm", last=path)
    parents = family.trace(path).parents
    assert len(parents) == 29
    assert not any(parent.parents for parent in parents)


def test_missing_and_replaced_parents_are_said(run):
    shutil.rmtree(run / "tpm/2024-01-03")
    shutil.rmtree(run / "historical/2024-01-06")
    publish(run, "historical/2024-01-06", "historical")
    tree = outline(family.trace(run / "m/cpm/2024-01-06"))
    assert tree[3] == [("historical", "historical/2024-01-06", "REPLACED", [])]
    tree = outline(family.trace(run / "tpm/2024-01-06"))
    assert tree[3] == [("last", "tpm/2024-01-03", "MISSING:", [])]


def test_an_export_remembers_what_was_deleted(run):
    shutil.rmtree(run / "m")
    (day,) = family.trace(run / "export/20240108").parents
    assert day.trouble.startswith("MISSING")
    assert day.manifest.metrics == {"auc": 0.75}
    (cpm,) = day.parents
    assert "remembers" in cpm.trouble and cpm.manifest.kind == "cpm"
    # The older one was not in its lineage.
    (older,) = cpm.parents
    assert older.trouble == "MISSING: deleted since" and older.manifest is None


def printed(path):
    file = io.StringIO()
    family.show(family.trace(path), rich.console.Console(file=file, width=300))
    return file.getvalue()


def test_what_is_printed(run):
    text = printed(run / "export/20240108")
    assert "A-CTR day of e_cdctr, 2024-01-01..2024-01-08, 70 rows" in text
    assert "goes on from 2024-01-07; days there: 2024-01-07..2024-01-07" in text
    assert "metrics: AUC 0.7500" in text
    settings = "seed=3, cpm.l2=0.5, sources.exclude=video,search"
    assert text.count(f"config: {settings}") == 1
    assert f"code: {store.revision()}" in text
    shutil.rmtree(run / "tpm/2024-01-03")
    assert "[MISSING: deleted since]" in printed(run / "export/20240108")


def test_other_paths_are_errors(run):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        family.trace(run / "nowhere")
    with pytest.raises(ValueError, match="should be an artefact"):
        family.trace(run / "m")
    (run / "m/ctr/2024-01-08/manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a manifest"):
        family.trace(run / "m/ctr/2024-01-08")


def test_the_code_is_no_part_of_data_and_may_be_missing(tmp_path):
    for kind, code in (("day", ""), ("cpm", store.revision())):
        manifest = store.Manifest(kind, WEEK)
        with store.publish(tmp_path / kind, manifest):
            pass
        text = (tmp_path / kind / store.MANIFEST).read_text()
        assert ("code" in json.loads(text)) == bool(code)
        assert store.Manifest.from_json(text).code == code


def test_the_revision_is_not_that_of_a_repository_around(tmp_path, monkeypatch):
    monkeypatch.setattr(revisions, "__file__", str(tmp_path / "revisions.py"))
    assert " " not in revisions.revision.__wrapped__()
