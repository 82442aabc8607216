"""The workflows of continuous integration are YAML, and what they run exists: targets, scripts, options."""

import os
import pathlib
import re
import shlex

import pytest

yaml = pytest.importorskip("yaml")

ROOT = pathlib.Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = re.findall(r"^([^\s:#=]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
needs_checkout = pytest.mark.skipif(not WORKFLOWS, reason="no workflows beside the tests")


def steps():
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            yield from job["steps"]


def missing(command):
    """What a command names and is not there."""
    program, *words = shlex.split(command)
    if program == "make":
        return [word for word in words if word.replace(".venv", "$(VENV)") not in TARGETS]
    if program.startswith("."):
        return [] if program.startswith(".venv/bin/") or os.access(ROOT / program, os.X_OK) else [program]
    return [] if program in ("python", "python3") else [program]


def unknown_options(command):
    """Options that the script of a command does not have."""
    words = shlex.split(command)
    scripts = [word for word in words if word.endswith(".py")]
    sources = "".join((ROOT / script).read_text(encoding="utf-8") for script in scripts)
    options = [word for word in words if word.startswith("--")]
    return [option for option in options if f'"{option}"' not in sources]


@needs_checkout
def test_what_workflows_run_exists():
    commands = [step["run"] for step in steps() if "run" in step]
    assert len(commands) > 5
    assert {command: found for command in commands if (found := missing(command) + unknown_options(command))} == {}


@needs_checkout
def test_each_step_is_a_command_or_a_pinned_action():
    for step in steps():
        assert ("run" in step) != ("uses" in step)
        assert "run" in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_what_is_not_there_is_found():
    assert missing("make nothing") == ["nothing"]
    assert missing(".ci/nothing") == [".ci/nothing"]
    assert missing("nothing") == ["nothing"]
    assert unknown_options("python benchmarks/fuzz.py --nothing 3 --seed 1") == ["--nothing"]
