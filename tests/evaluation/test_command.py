"""`evaluate.py --config`: a report, resumed where it stopped, the same from any number of processes."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import evaluate
from rrl.evaluation.cells.suites import load_suite
from rrl.evaluation.command import make_parser, noted, read_settings
from rrl.evaluation.policies import LoadedPolicy
from rrl.evaluation.rows import PolicyLabel
from tests.conftest import PROJECT

CONFIGS = sorted((PROJECT / "conf" / "evaluation").glob("*.yaml"))
SETTINGS = {
    "env_id": "InvertedPendulum-v5",
    "policies": {"good": ["tests.evaluation.controllers:upright"], "bad": ["tests.evaluation.controllers:limp"]},
    "suite": "suite.yaml",
    "episodes": 2,
    "attacks": {"force_limits": [5.0], "restarts": 1, "steps": 1},
    "output": "out",
}
SUITE = {"sweeps": [{"name": "gear", "axes": [{"parameter": "gear", "values": [0.5, 1.5]}]}]}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("suite.yaml").write_text(yaml.safe_dump(SUITE))
    Path("config.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    return ["--config", "config.yaml"]


def rows(folder="out"):
    """The rows by policy and cell, without the time they took."""
    with Path(folder, "results.csv").open(encoding="utf-8") as file:
        found = {(row["policy"], row["cell"]): row for row in csv.DictReader(file)}
    for row in found.values():
        row.pop("seconds")
    return found


@pytest.mark.mujoco
def test_an_evaluation_ends_with_a_table_and_a_report(config, capsys):
    assert evaluate.main(config) == 0
    printed, shown = capsys.readouterr()
    done, total, times = re.findall(r"\| ([\d.]+)/([\d.]+) \[([\d:<?]+)", shown)[-1]
    # Of each policy 3 conditions, 4 attacks and a search whose 4 held pushes and only restart take the episodes again.
    assert done == total == str(2 * 2 * (3 + 4 + 1 + 4 + 1))
    assert "<" in times
    assert "good (1)" in printed
    assert "report: out/report.html" in printed
    found = rows()
    assert len(found) == 2 * (3 + 1 + 3 + 1)
    good = {cell: row for (policy, cell), row in found.items() if policy.endswith("upright")}
    assert float(good["nominal"]["return_mean"]) == float(good["zero"]["return_mean"]) == 1000.0
    html = Path("out/report.html").read_text()
    assert "1 adversary trained against it for 1 environment" in html
    with Path("out/attacks.csv").open(encoding="utf-8") as file:
        searched = [row for row in csv.DictReader(file) if row["attack"] == "strongest 5 N"]
    assert [row["training_steps"] for row in searched] == ["2048", "2048"]


def test_a_policy_of_another_robot_is_noted():
    xml = {"xml_file": "mine.xml"}
    policy = LoadedPolicy(lambda rows: rows, PolicyLabel("A", "a.ckpt", 0), worlds={"env_kwargs": xml})
    assert noted(policy, {}).note == f"a.ckpt was trained with `env_kwargs` {xml}, the evaluation has {{}}."
    assert not noted(policy, xml).note
    assert not noted(replace(policy, worlds={}), xml).note  # nobody knows where


@pytest.mark.mujoco
def test_a_machine_that_cannot_draw_costs_the_films_alone(config, capsys, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    assert evaluate.main([*config, "--video=true", "--attacks=null"]) == 0
    printed = capsys.readouterr().out
    assert "No video: drawing needs EGL or OSMesa" in printed
    assert "report: out/report.html" in printed
    assert "image/webp" not in Path("out/report.html").read_text()


@pytest.mark.mujoco
def test_the_films_of_a_report_are_of_all_methods_in_one_world(config, capsys):
    assert evaluate.main([*config, "--video=true", "--attacks=null"]) == 0
    if "No video" in capsys.readouterr().out:
        pytest.skip("this machine cannot draw")
    html = Path("out/report.html").read_text()
    assert html.count("data:image/webp") == 2
    assert html.index("</span>good. ") < html.index("</span>bad. Fails after")
    assert html.count("; the mean over 2 episodes is ") == 4  # beneath each film and in place of it


@pytest.mark.mujoco
def test_a_finished_evaluation_is_not_run_again(config):
    assert evaluate.main(config) == 0
    before = Path("out/cells.csv").read_bytes()
    assert evaluate.main(config) == 0
    assert Path("out/cells.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.mujoco
def test_the_results_do_not_depend_on_the_number_of_processes(config):
    assert evaluate.main([*config, "--output=one"]) == 0
    assert evaluate.main([*config, "--output=two", "--workers=2"]) == 0
    assert list(rows("one").items()) == list(rows("two").items())


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("deed", "workers", "code", "message"),
    [
        ("interrupt", 1, 130, "stopped; The finished cells"),
        pytest.param("kill", 2, 1, "A worker process was killed", marks=pytest.mark.slow),
    ],
)
def test_what_was_finished_stays_and_the_rest_follows(config, deed, workers, code, message, capsys, monkeypatch):
    policies = '--policies={"good": ["tests.evaluation.controllers:treacherous"]}'
    monkeypatch.setenv("TREACHERY", str(Path("order").absolute()))
    Path("order").write_text(deed)
    command = [*config, policies, f"--workers={workers}"]
    assert evaluate.main(command) == code
    assert f"evaluate.py: error: {message}" in capsys.readouterr().err
    kept = Path("out/cells.csv").read_text().splitlines()
    assert not Path("out/results.csv").exists()
    assert evaluate.main(command) == 0
    assert Path("out/cells.csv").read_text().splitlines()[: len(kept)] == kept
    interrupted = rows()
    assert evaluate.main([*config, policies, "--output=whole"]) == 0
    assert interrupted == rows("whole")


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episode=3"], "There is no setting 'episode'; did you mean 'episodes'?"),
        (["--attacks.restart=3"], "restart"),
        (["--episodes=x"], "`episodes` must be int, got x."),
        (["--episodes=0"], "`episodes` must be at least 1, got 0."),
        (["--baseline=best"], "`baseline` must be one of ['good', 'bad'], got 'best'."),
        (["--suite=quik"], "There is no suite 'quik'; did you mean 'quick'?"),
        (["--env_id=Hoper-v5"], "Hoper-v5"),
        (["--env_id=Reacher-v5", "--suite=nominal"], "`adversary` must name the bodies of Reacher-v5"),
        (["--suite=nominal", "--push_body=nose"], "`push_body` must be among ['cart', 'pole'], got 'nose'."),
        (["--suite=nominal", "--adversary.bodies=[nose]"], "`bodies` must be among ['cart', 'pole'], got 'nose'."),
        (['--policies={"a": ["none.ckpt"]}'], "There is no checkpoint, folder, run or function none.ckpt."),
        (
            ['--policies={"x": ["tests.environments:missing"]}'],
            "tests.environments:missing must be an importable module:function, but the module tests.environments has "
            "no function missing.",
        ),
        (["--output=config.yaml"], "config.yaml cannot hold results"),
        (["--config=missing.yaml"], "missing.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(config, arguments, message, capsys):
    assert evaluate.main([*config, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("evaluate.py: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not Path("out").exists()


@pytest.mark.mujoco
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_evaluation_is_complete(path):
    settings = read_settings(make_parser(), ["--config", str(path)])
    assert len(load_suite(settings.suite, settings.trial).cells) > 1
    assert settings.attacks is not None
    assert f"python evaluate.py --config conf/evaluation/{path.name}" in path.read_text().splitlines()[0]


def test_configuration_of_a_stranger_runs_nothing(config, capsys):
    changes = [
        (
            {"env_kwargs": {"a": {"class_path": "os.system", "init_args": {"command": "touch ran"}}}},
            "`env_kwargs.a` takes",
        ),
        (
            {"policies": {"good": ["this:d"]}},
            "this:d must be a function of a module of yours; list this in",
        ),
    ]
    for change, message in changes:
        Path("config.yaml").write_text(yaml.safe_dump(SETTINGS | {"baseline": None} | change))
        assert evaluate.main(config) == 2
        assert capsys.readouterr().err.startswith(f"evaluate.py: error: {message}")
    assert sorted(path.name for path in Path().iterdir()) == ["config.yaml", "suite.yaml"]
