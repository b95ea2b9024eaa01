"""The examples for schedulers in `deploy/` parse and give flags there are."""

import ast
import pathlib
import re
import shlex

import pytest
import yaml

import train_main
from ecdctr_tf.operation import auto

DEPLOY = pathlib.Path(__file__).parent.parent / "deploy"


def document(name):
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def cron_lines():
    """Return schedule and command of each line of the crontab."""
    lines = (DEPLOY / "cron").read_text(encoding="utf-8").splitlines()
    jobs = [line for line in lines if re.match(r"[*\d]", line)]
    # Five fields of time; % has to be escaped.
    return [(job.split()[:5], job.split(maxsplit=5)[5]) for job in jobs]


def of_cronjob():
    job = document("cronjob.yaml")["spec"]["jobTemplate"]["spec"]
    return job, job["template"]["spec"]["containers"][0]


def of_argo():
    workflow = document("argo.yaml")["spec"]["workflowSpec"]
    return workflow, workflow["templates"][0]


def of_airflow():
    """Return the keywords of the call of each name in the DAG."""
    source = (DEPLOY / "airflow_dag.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    calls = {
        node.func.id: {of.arg: of.value for of in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return tree, calls


def commands():
    yield from (command for _, command in cron_lines())
    for container in (of_cronjob()[1], of_argo()[1]["container"]):
        yield shlex.join([*container["command"], *container["args"]])
    yield ast.literal_eval(of_airflow()[1]["BashOperator"]["bash_command"])


@pytest.mark.parametrize("command", list(commands()))
def test_commands_are_those_of_train_main(command):
    words = shlex.split(command)
    assert words[0] == "ecdctr-train"
    flags = dict(re.findall(r"--(\w+)=(\S*)", command))
    assert {"stage", "data_dir", "workdir"} <= set(flags)
    stage = flags["stage"]
    assert stage in train_main.STAGES
    for name in flags:
        assert name in train_main.flags.FLAGS
        assert stage in train_main._READ_BY.get(name, (stage,)), name


def test_cron_lines_have_five_fields_and_escape_percent_signs():
    jobs = cron_lines()
    assert len(jobs) == 2
    for fields, command in jobs:
        assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields)
        assert not re.search(r"(?<!\\)%", command)


def test_kubernetes_tries_again_what_waits_and_nothing_else():
    found = document("cronjob.yaml")
    assert (found["apiVersion"], found["kind"]) == ("batch/v1", "CronJob")
    assert found["spec"]["concurrencyPolicy"] == "Forbid"
    job, container = of_cronjob()
    [rule] = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    statuses = {of.exit_status for of in auto.ERRORS.values()}
    assert set(rule["onExitCodes"]["values"]) == statuses - {75}
    assert rule["action"] == "FailJob"
    # Pod failure policies need it.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    check_volumes(container, job["template"]["spec"]["volumes"])


def test_argo_tries_again_what_waits():
    found = document("argo.yaml")
    assert found["apiVersion"] == "argoproj.io/v1alpha1"
    assert found["kind"] == "CronWorkflow"
    workflow, template = of_argo()
    assert workflow["entrypoint"] == template["name"]
    status = auto.WaitingError.exit_status
    assert f"== {status}" in template["retryStrategy"]["expression"]
    check_volumes(template["container"], workflow["volumes"])


def check_volumes(container, volumes):
    mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in volumes}
    place = mounted["ctr"]["mountPath"]
    paths = [arg.split("=")[1] for arg in container["args"] if "=/" in arg]
    assert paths and all(path.startswith(f"{place}/") for path in paths)


def test_airflow_imports_nothing_of_ours():
    tree, calls = of_airflow()
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert imported == {"datetime", "airflow"}
    assert ast.literal_eval(calls["DAG"]["catchup"]) is False
    assert ast.literal_eval(calls["DAG"]["max_active_runs"]) == 1
