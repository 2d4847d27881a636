"""What a search space may say, and what its values become."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from rrl.tune.objective import Cvar
from rrl.tune.space import Range, Space, plain, read_space
from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: {low: 1}", "a: a setting of the space needs either `low` and `high`, or `choices`"),
        ("a: {choices: []}", "needs either"),
        ("a: {low: 1, high: 2, choices: [1]}", "needs either"),
        ("a: {low: 2, high: 1}", "`low` must be below `high`"),
        ("a: {low: 0, high: 1, log: true}", "positive where `log`"),
        ("a: {low: 0, high: 1, type: bool}", "`type` must be one of"),
        ("a: {lo: 0, high: 1}", "There is no setting 'lo'; did you mean 'low'"),
        ("a: {low: x, high: 1}", "`low` must be float or null, got x"),
        ("a: {low: 0.5, high: 2, type: int}", "`low` must be a whole number, got 0.5"),
        ("a: {low: 0, high: .inf}", "`high` must be a finite number, got inf"),
        ("a: {choices: 3}", "`choices` must be"),
        ("a: 3", "a: it must hold settings by name, got 3"),
        ("a: [", "is no YAML"),
        ("objective: {cvar: {suite: quick, alpha: 0.5}}", "must name at least one setting with its range"),
        ("{a: {low: 1, high: 2}, objective: cvar}", r"an objective is written as .*, got 'cvar'"),
        ("{a: {low: 1, high: 2}, objective: {cvar: {alpha: 0.5}}}", "needs a value for `suite`"),
        ("{a: {low: 1, high: 2}, objective: {cvar: {suite: quick, alpha: 1.5}}}", r"`alpha` must lie in \(0, 1\]"),
        ("{a: {low: 1, high: 2}, objective: {cvar: {suite: quick, alpha: much}}}", "`alpha` must be float, got much"),
        ("{a: {low: 1, high: 2}, objective: {cvar: {suit: quick, alpha: 1}}}", "'suit'; did you mean 'suite'"),
        ("{a: {low: 1, high: 2}, objective: {cvar: {suite: quick, alpha: 1, episodes: 0}}}", "`episodes` must be at"),
    ],
)
def test_what_is_no_space_is_refused_in_one_sentence(content, message, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_space(path)


def test_a_space_without_an_objective_is_judged_by_the_last_evaluations(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("a: {low: 1e-4, high: 1}")
    assert read_space(path) == Space({"a": Range(low=0.0001, high=1.0)}, None)
    path.write_text("{a: {low: 1, high: 2}, objective: {cvar: {suite: quick, alpha: 0.5}}}")
    assert read_space(path).objective == Cvar(suite="quick", alpha=0.5)


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"There is no search space none\.yaml"):
        read_space(Path("none.yaml"))


def test_suggested_values_lie_in_their_range_and_choices_may_be_lists():
    space = {
        "a": Range(low=1e-4, high=1e-2, log=True),
        "b": Range(low=1, high=3, type="int"),
        "c": Range(choices=[[8], [16, 16]]),
    }
    trial = optuna.create_study().ask()
    values = {name: choice.suggest(trial, name) for name, choice in space.items()}
    assert 1e-4 <= values["a"] <= 1e-2
    assert values["b"] in {1, 2, 3}
    assert values["c"] in ([8], [16, 16])
    assert plain(space, trial.params) == values


@pytest.mark.parametrize("path", sorted((PROJECT / "conf" / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_space_is_one_and_says_how_it_is_used(path):
    assert read_space(path).ranges
    assert f"--space conf/spaces/{path.name}" in path.read_text().splitlines()[0]
