from ecdctr_tf import store, windows
from ecdctr_tf.training import workdir


def test_paths_are_those_of_the_layout(tmp_path):
    run = workdir.Workdir(tmp_path)
    assert run.tpm == tmp_path / "tpm"
    assert run.historical == tmp_path / "historical"
    assert run.cpm("e_cdctr") == tmp_path / "e_cdctr/cpm"
    assert run.ctr("ads_only") == tmp_path / "ads_only/ctr"
    assert run.progress("snapshot", "e_cdctr") == tmp_path / ".progress/tpm"
    assert run.progress("ctr", "keep") == tmp_path / ".progress/keep/ctr"
    scalars = run.tensorboard("cpm", "e_cdctr", "2024-01-31")
    assert scalars == tmp_path / "tensorboard/e_cdctr/cpm/2024-01-31"


def test_level_is_where_a_kind_is_published(tmp_path):
    run = workdir.Workdir(tmp_path)
    found = {
        kind: run.level(kind, "keep") for kind in ("snapshot", "cpm", "ctr")
    }
    assert found == {
        "snapshot": run.tpm,
        "cpm": run.cpm("keep"),
        "ctr": run.ctr("keep"),
    }


def test_newest_before_is_strictly_before(tmp_path):
    for day in ("2024-01-01", "2024-01-05"):
        manifest = store.Manifest("cpm", windows.Window(day, day))
        with store.publish(tmp_path / day, manifest):
            pass
    (tmp_path / ".staging-2024-01-03").mkdir()
    newest = workdir.newest_before
    assert newest(tmp_path, "2024-01-01") is None
    assert newest(tmp_path, "2024-01-05") == tmp_path / "2024-01-01"
    assert newest(tmp_path, "2024-01-06") == tmp_path / "2024-01-05"
    assert newest(tmp_path / "nowhere", "2024-01-06") is None
