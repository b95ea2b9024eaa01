"""The command line: what it refuses, how it says so, and when."""

import logging
import pathlib
import subprocess
import sys

import pytest
from absl import flags
from absl import logging as absl_logging
from absl.testing import flagsaver

import train_main
from ecdctr_tf import config as configs
from ecdctr_tf import model_table, store
from tests import training_world

ROOT = pathlib.Path(__file__).parent.parent
SETTINGS = [
    "model.embedding_dim=3",
    "model.hidden_units=4",
    "tpm_model.embedding_dim=3",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training_world.small_data(tmp_path_factory.mktemp("main") / "data")


@pytest.fixture(autouse=True)
def _parsed():
    """Flags have to be parsed once before `flagsaver` may set them."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


@pytest.fixture
def run_main(data, tmp_path, capsys):
    """Run `main` with a stage's flags and others; return what it printed."""

    def run(*arguments, **values):
        values = {
            "stage": "ctr",
            "data_dir": str(data.path),
            "workdir": str(tmp_path / "run"),
            "set": SETTINGS,
            **values,
        }
        with flagsaver.flagsaver(**values):
            train_main.main(["train_main.py", *arguments])
        return capsys.readouterr()

    return run


@pytest.fixture
def error_of(run_main, capsys):
    """Return the one line that a command is refused with."""

    def refused(*arguments, **values):
        with pytest.raises(SystemExit) as exit_:
            run_main(*arguments, **values)
        assert exit_.value.code == 1
        lines = capsys.readouterr().err.strip().splitlines()
        # Where a stage had begun, its progress bar comes first.
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1 and lines[-1] == errors[0]
        return errors[0].removeprefix("error: ")

    return refused


def call(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "train_main.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_helpshort_explains_every_stage_and_flag():
    done = call("--helpshort")
    lines = (done.stdout + done.stderr).splitlines()
    for stage in train_main.STAGES:
        assert any(line.split()[:1] == [stage] for line in lines), stage
    for name in ("data_dir", "workdir", "preset", "set", "start", "models"):
        assert any(line.strip().startswith(f"--{name}:") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage=ctr", "--sat=seed=1"], "Unknown command line flag 'sat'"),
        (["--stage=train"], "value should be one of <tpm|aggregate|cpm|ctr"),
    ],
)
def test_flags_that_absl_refuses(arguments, message):
    done = call(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_config_field_is_refused_before_tensorflow_loads():
    program = (
        "import sys\n"
        "import train_main\n"
        "from absl import app\n"
        "try:\n"
        "    app.run(train_main.main)\n"
        "finally:\n"
        "    print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "--stage=tpm",
            "--data_dir=x",
            "--workdir=y",
            "--set=model.width=3",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.strip() == "False"
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: Unknown config field model.width")
    assert "model.embedding_dim" in line


@pytest.mark.parametrize("name", ["stage", "data_dir", "workdir"])
def test_missing_flag_is_named(error_of, name):
    message = error_of(**{name: None})
    assert message == f"--{name} is required; see --helpshort."


@pytest.mark.parametrize("name", ["date", "end", "export_dir"])
def test_an_empty_flag_is_not_taken_for_none(error_of, name):
    """As where a scheduler's variable is not set: `--date=$DAY`."""
    message = error_of(stage="auto", **{name: ""})
    assert message.startswith(f"--{name} has no value. Give it one")


def test_positional_arguments_are_refused(error_of):
    """As where a space slipped in: `--set seed = 1`."""
    message = error_of("=", "1")
    assert message == "Unknown arguments: = 1"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("cpm.passes=two", "cpm.passes should be int. Received: 'two'"),
        ("model.batch_norm_momentum=1.5", "should be in [0, 1). Received: 1.5"),
        ("history.aggregation=sum", "should be one of last, mean, decay"),
        ("model=3", "set one of them, such as model.field=value"),
        ("seed", "--set should be name.field=value. Received: 'seed'"),
        (
            "modle.cross_layers=0",
            "Unknown config field modle. The fields are seed",
        ),
    ],
)
def test_value_that_a_field_cannot_have(error_of, assignment, message):
    assert message in error_of(set=[assignment])


def test_preset_and_config_are_not_given_together(error_of):
    message = error_of(preset="globo", config="config.json")
    assert message == "Give --preset or --config, not both."


def test_missing_config_is_named(error_of, tmp_path):
    path = str(tmp_path / "none.json")
    message = error_of(config=path)
    assert message == f"The config {path} does not exist."


def test_config_and_set_are_combined(tmp_path):
    path = tmp_path / "config.json"
    config = configs.override(configs.Config(), ["seed=4", "cpm.passes=2"])
    path.write_text(config.to_json())
    with flagsaver.flagsaver(config=str(path), set=["seed=5"]):
        found = train_main.config_from_flags()
    assert found == configs.override(config, ["seed=5"])


def test_unknown_model_is_named_with_those_there_are(error_of):
    message = error_of(models=["e_cdctr", "ecdctr"])
    assert message.startswith("Unknown model 'ecdctr'. The models are e_cdctr")
    for name in model_table.MODELS:
        assert name in message


@pytest.mark.parametrize("seed", ["one", "-1", "1.5", ""])
def test_seed_that_is_no_number(error_of, seed):
    message = error_of(seeds=["0", seed])
    assert message.startswith("--seeds should be different whole numbers")
    assert message.endswith(f"Received: 0,{seed}")


def test_missing_data_directory_is_named(error_of, tmp_path):
    message = error_of(data_dir=str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in message
    assert "convert" in message
    # Not begun, so that the command can be given anew with another config.
    assert not (tmp_path / "run").exists()


def test_ctr_without_cpm_names_the_stage_to_run(error_of, tmp_path):
    message = error_of(models=["e_cdctr"])
    assert str(tmp_path / "run/e_cdctr/cpm") in message
    assert "--stage=cpm" in message


def test_cpm_without_history_names_the_stage_to_run(error_of, tmp_path):
    message = error_of(
        stage="cpm",
        models=["e_cdctr"],
        start="2024-01-03",
        end="2024-01-04",
    )
    assert str(tmp_path / "run/historical") in message
    assert "--stage=aggregate" in message


@pytest.mark.parametrize("stage", ["aggregate", "export"])
def test_stage_without_the_one_before_names_it(error_of, stage):
    before = {"aggregate": "tpm", "export": "ctr"}[stage]
    assert f"--stage={before}" in error_of(stage=stage)


@pytest.mark.parametrize(
    ("stage", "domain"),
    [("tpm", "natural"), ("cpm", "natural"), ("ctr", "ads")],
)
def test_window_beyond_the_data_names_the_days_there_are(
    error_of, data, stage, domain
):
    message = error_of(
        stage=stage,
        models=["cpm_finetune"],
        start="2024-01-06",
        end="2024-01-09",
    )
    last = {"natural": "06", "ads": "08"}[domain]
    assert str(data.path / domain) in message
    assert "2024-01-09 of the window" in message
    assert f"..2024-01-{last}." in message


def test_window_that_ends_before_it_starts(error_of):
    message = error_of(start="2024-01-05", end="2024-01-04")
    assert "first=2024-01-05, last=2024-01-04" in message


@pytest.mark.parametrize("name", ["start", "end"])
def test_window_of_what_is_no_date(error_of, name):
    days = {"start": "2024-01-05", "end": "2024-01-05", name: "05/01/2024"}
    message = error_of(**days)
    assert message.endswith("YYYY-MM-DD. Received: '05/01/2024'")


def test_window_of_all_stages_is_refused(error_of):
    message = error_of(stage="all", start="2024-01-05")
    assert "--stage=all does not read --start and --end" in message
    assert "schedule.ctr_first" in message


@pytest.mark.parametrize("stage", ["tpm", "cpm", "ctr"])
@pytest.mark.parametrize("name", ["start", "end"])
def test_half_a_window_is_rejected(error_of, tmp_path, stage, name):
    message = error_of(stage=stage, **{name: "2024-01-05"})
    assert f"--stage={stage} needs both --start and --end" in message
    assert message.endswith(f"Received: --{name}=2024-01-05")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ends", [{}, {"start": "2024-01-05"}])
def test_a_replay_has_a_first_and_a_last_date(error_of, ends):
    assert "--stage=replay needs --start and --end" in error_of(
        stage="replay", **ends
    )


def test_a_date_that_is_none(error_of, tmp_path):
    message = error_of(stage="auto", date="2024-1-5")
    assert "YYYY-MM-DD. Received: '2024-1-5'" in message
    assert not (tmp_path / "run/operation").exists()


UNREAD = {
    "start": "2024-01-05",
    "end": "2024-01-05",
    "date": "2024-01-05",
    "dry_run": True,
    "trials": 2,
    "report_dir": "report",
    "export_dir": "export",
    "note": ["One week only."],
}


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("tpm", "trials report_dir export_dir note"),
        ("aggregate", "start trials report_dir export_dir note"),
        ("cpm", "trials report_dir export_dir note"),
        ("ctr", "trials report_dir export_dir note"),
        ("export", "start trials report_dir note"),
        ("report", "start end trials export_dir"),
        ("compare", "start end export_dir"),
        ("diagnose", "start end trials export_dir"),
        ("all", "trials date dry_run"),
        ("auto", "start end trials report_dir note"),
        ("replay", "date dry_run trials"),
    ],
)
def test_flag_that_a_stage_does_not_read_is_rejected(
    error_of, tmp_path, stage, names
):
    models = ["ads_only"]
    for name in names.split():
        values = {name: UNREAD[name], "models": models}
        message = error_of(stage=stage, **values)
        assert f"--stage={stage} does not read --{name};" in message
    assert not (tmp_path / "run").exists()


def test_export_and_aggregate_take_a_last_day(error_of):
    for stage in ("aggregate", "export"):
        message = error_of(stage=stage, end="2024-01-05")
        assert "does not read" not in message
        assert "needs both" not in message


def test_seeds_are_given_once(error_of):
    message = error_of(seeds=["0", "1", "0"])
    assert message.endswith("such as 0,1,2. Received: 0,1,0")


def test_fault_of_the_machine_ends_in_one_line(error_of, tmp_path):
    (tmp_path / "file").touch()
    message = error_of(workdir=str(tmp_path / "file/run"))
    assert message.startswith("Not a directory: ")


def test_a_stage_runs_on_its_window(run_main, tmp_path):
    day = "2024-01-05"
    values = {"models": ["ads_only"], "start": day, "end": day}
    run_main(**values)
    published = tmp_path / "run/ads_only/ctr"
    assert store.dated(published) == ["2024-01-05"]
    with flagsaver.flagsaver(set=SETTINGS):
        expected = train_main.config_from_flags()
    kept = configs.Config.from_json(tmp_path / "run/config.json")
    assert kept == expected


def window_of(day) -> dict[str, str]:
    return {"start": day, "end": day}


def test_a_level_that_began_with_other_settings(run_main, error_of, tmp_path):
    """The config that is kept stays that of the command that succeeded."""
    values = {"models": ["ads_only"], **window_of("2024-01-05")}
    run_main(**values)
    kept = (tmp_path / "run/config.json").read_text()
    values.update(window_of("2024-01-06"))
    message = error_of(set=["model.embedding_dim=8", *SETTINGS[1:]], **values)
    assert str(tmp_path / "run/ads_only/ctr/2024-01-05") in message
    assert "other settings: model.embedding_dim=3 (now 8). " in message
    assert "another --workdir" in message
    assert (tmp_path / "run/config.json").read_text() == kept
    # What the level does not depend on may change.
    run_main(set=[*SETTINGS, "cpm.passes=2"], **values)
    kept = configs.Config.from_json(tmp_path / "run/config.json")
    assert kept.cpm.passes == 2


def test_settings_of_one_model(run_main, error_of, tmp_path):
    """`--set MODEL.field=value`."""
    values = {"models": ["ads_only"], **window_of("2024-01-05")}
    run_main(set=[*SETTINGS, "ads_only.passes=2"], **values)
    path = tmp_path / "run/ads_only/ctr/2024-01-05/config.json"
    assert configs.Config.from_json(path).ctr.passes == 2
    message = error_of(set=["ads_only.width=2"])
    assert "Unknown config field ctr.width" in message


def test_verbose_shows_where_an_error_comes_from(run_main):
    with pytest.raises(FileNotFoundError, match="--stage=cpm"):
        run_main(models=["e_cdctr"], verbose=True)


def test_a_process_ends_with_one_line_and_no_traceback(data, tmp_path):
    """Whatever TensorFlow has to say beside it."""
    done = call(
        "--stage=ctr",
        f"--data_dir={data.path}",
        f"--workdir={tmp_path / 'run'}",
        "--models=e_cdctr",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "--stage=cpm" in last
    assert done.stdout == ""


def test_warnings_come_without_time_and_place(error_of):
    error_of("unknown")
    handler = absl_logging.get_absl_handler()
    record = logging.LogRecord(
        "x", logging.WARNING, "x.py", 1, "a %s", "b", None
    )
    assert handler.format(record) == "WARNING: a b"


def test_compare_sets_reads_results_and_nothing_else(error_of, tmp_path):
    asked = {"stage": "compare_sets", "data_dir": None, "workdir": None}
    asked |= {"set": [], "report_dir": str(tmp_path / "sets")}
    assert error_of(**asked).startswith("--results is required")
    globo = str(ROOT / "docs/results/globo.json")
    asked["results"] = [globo, "nowhere.json"]
    assert error_of(**asked | {"report_dir": None}).startswith("--report_dir")
    assert error_of(**asked).startswith("nowhere.json, given as --results")
    message = error_of(**asked | {"set": SETTINGS})
    assert message.startswith("--stage=compare_sets does not read --set")
    message = error_of(results=["a.json", "b.json"])
    assert message.startswith("--stage=ctr does not read --results; only")
    assert not (tmp_path / "sets").exists()


def test_compare_sets_of_the_published_results(run_main, tmp_path):
    names = ("globo", "movielens", "synthetic")
    files = [str(ROOT / f"docs/results/{name}.json") for name in names]
    printed = run_main(
        stage="compare_sets",
        data_dir=None,
        workdir=None,
        set=[],
        results=files,
        report_dir=str(tmp_path / "sets"),
    )
    assert "STAR" in printed.out
    assert (tmp_path / "sets" / "data_sets.json").exists()
