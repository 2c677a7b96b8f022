"""Public CI names make targets that exist, and the Python versions and packages that the project admits."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def load(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_steps_are_make_targets(path: Path) -> None:
    """What CI does, anybody can do: no step has commands of its own but for the few that set a machine up."""
    set_up = ("command -v make", "bash .ci/run", 'test "$GITHUB_REF_NAME"')
    steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert path.stem == "release" or commands
    for command in commands:
        if not command.startswith(set_up):
            word, *targets = [w for w in command.split() if "=" not in w]
            assert word == "make"
            assert set(targets) <= TARGETS, command


def test_the_bare_machine_installs_the_package_twice() -> None:
    """Each call of make builds and installs it: all that needs no system package is one call, the examples another."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    calls = re.findall(r"\bmake +([^#\n]+)", script)
    goals = [[word for word in call.split() if "=" not in word] for call in calls]
    assert goals == [["test", "test-kill", "fuzz"], ["test-examples"]]
    assert {goal for call in goals for goal in call} <= TARGETS


def test_what_no_push_waits_for_runs_every_week() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "weekly.yml")
    assert workflow[True].keys() == {"schedule", "workflow_dispatch"}  # YAML takes `on` for true
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    targets = {word for command in commands for word in command.split()}
    assert {"test-slow", "audit", "test-oldest", "test-oldest-training"} <= targets


def test_the_matrix_is_what_the_project_promises() -> None:
    matrix = load(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["fast"]["strategy"]["matrix"]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    listed = [
        c.rpartition(" ")[2]
        for c in PROJECT["classifiers"]
        if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert listed == matrix["python"]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_issue_forms_ask_for_the_doctor() -> None:
    forms = {path.stem: load(path) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")}
    fields = {field["id"]: field for field in forms["problem"]["body"]}
    assert fields["doctor"]["validations"] == {"required": True}
    assert "draw-doctor --onnx FILE" in fields["file"]["attributes"]["label"]
    assert all({"name", "description", "body"} == set(form) for form in forms.values())


def test_only_the_jobs_that_publish_may_write() -> None:
    for path in WORKFLOWS:
        workflow = load(path)
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert ("permissions" in job) == (name == "publish"), (path.name, name)
