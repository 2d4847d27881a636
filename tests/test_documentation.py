"""What the pages say is true: their code runs, their files and metrics are there."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest
import yaml

from rrl.main import COMMANDS, main
from tests.conftest import PROJECT

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

TINY = ["--data.init_args.num_envs=2", "--data.init_args.num_steps=8", "--data.init_args.iterations_per_epoch=1"]


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def pages_with(language: str) -> list:
    return [pytest.param(page, id=str(page.relative_to(PROJECT))) for page in PAGES if blocks(page, language)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that has just begun; what its policy does is of no matter."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["--config", str(PROJECT / "conf" / "trpo_invertedpendulum.yaml"), *TINY, "--trainer.max_epochs=1"]
    place = ["--trainer.logger=false", f"--checkpoint.dirpath={folder / 'checkpoints'}"]
    with contextlib.chdir(folder):  # without a logger the configuration is written where one stands
        assert main(["train", *arguments, *place, "--evaluation.num_episodes=1"]) == 0
    return folder


@pytest.mark.mujoco
@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs_from_top_to_bottom(page, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("robust", "<run>"):
        shutil.copytree(run, tmp_path / "runs" / name)
        shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "runs" / name / "checkpoints" / "best.ckpt")
    code = "\n".join(blocks(page, "python"))
    exec(compile(code, str(page), "exec", dont_inherit=True), {"__name__": "page"})


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_the_yaml_of_a_page_is_yaml(page):
    for text in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(text), dict)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_and_commands_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/<])(?:conf|rrl|benchmarks|results|tests|docs)/(?!\w+-v1)[\w/.-]*\w", text):
        assert (PROJECT / name).exists() or list(PROJECT.glob(f"{name}*")), f"{page} names {name}, which is not there"
    for shell in blocks(page, "bash"):
        for command in re.findall(r"^rrl (\w+)", shell, re.MULTILINE):
            assert command in COMMANDS


def test_every_configuration_has_its_line():
    table = (PROJECT / "docs" / "reference" / "configurations.md").read_text(encoding="utf-8")
    for config in (PROJECT / "conf").glob("*.yaml"):
        assert config.name == "defaults.yaml" or f"`{config.name}`" in table
    for control in (PROJECT / "conf" / "controls").glob("*.yaml"):
        assert f"`{control.name}`" in table


def test_every_command_is_documented():
    text = (PROJECT / "docs" / "reference" / "command_line.md").read_text(encoding="utf-8")
    assert all(f"rrl {command}" in text for command in COMMANDS)


def test_every_suite_is_documented():
    text = (PROJECT / "docs" / "reference" / "suites.md").read_text(encoding="utf-8")
    assert all(f"`{suite.stem}`" in text for suite in (PROJECT / "conf" / "evaluation" / "suites").glob("*.yaml"))


def test_every_page_is_in_the_navigation():
    text = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(str(page.relative_to(PROJECT / "docs")) in text for page in PAGES[1:])
