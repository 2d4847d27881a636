"""Attacks lower the return, and budgets are true."""

import math

import pytest

from rrl.evaluation.attacks.evaluate import AttackCell, AttackOptions, attack_cells, evaluate_attack
from rrl.evaluation.episodes import Trial
from rrl.evaluation.rows import PolicyLabel
from tests.evaluation.controllers import TASK, balance


def attack(attacker, force_limit, *, options=None, **more):
    options = options or AttackOptions(force_limits=[5.0], restarts=1, steps=12_000)
    return evaluate_attack(balance, Trial(TASK, 4), AttackCell(attacker, force_limit), options, **more)


@pytest.mark.mujoco
def test_a_fresh_adversary_lowers_the_return_below_that_without_attack():
    unharmed, harmed = attack("zero", 0.0), attack("strongest", 5.0)
    assert unharmed.row.return_mean == 1000.0
    assert harmed.row.return_mean < 0.5 * unharmed.row.return_mean
    assert harmed.training_steps >= 12_000
    assert harmed.strongest in harmed.candidates
    assert len(harmed.candidates) == 4 + 1
    assert unharmed.training_steps == 0


@pytest.mark.mujoco
def test_force_is_measured_in_newtons():
    assert attack("zero", 0.0).force_rms == 0.0
    # The mean square of a uniform draw from -1 to 1 is a third.
    assert attack("random", 3.0).force_rms == pytest.approx(3.0 / math.sqrt(3.0), rel=0.03)


@pytest.mark.mujoco
def test_a_row_says_whose_it_is_and_what_was_done():
    row = attack("step", 3.0, label=PolicyLabel("TRPO", "a.ckpt", 7)).row
    assert (row.method, row.policy, row.train_seed) == ("TRPO", "a.ckpt", 7)
    assert (row.env_id, row.kind, row.sweep, row.cell) == (TASK, "attack", "step", "step 3 N")
    assert (row.axis_1, row.value_1, row.episodes) == ("force limit", 3.0, 4)


@pytest.mark.mujoco
def test_the_own_adversary_must_be_there():
    with pytest.raises(ValueError, match=r"a\.ckpt has no adversary of its own"):
        attack("own", 5.0, label=PolicyLabel("TRPO", "a.ckpt", 7))


def test_attacks_are_listed_from_weak_to_strong():
    options = AttackOptions(force_limits=[5.0, 1.25], restarts=1)
    names = [cell.name for cell in attack_cells(options, own=True)]
    assert names[:3] == ["zero", "random 1.25 N", "random 5 N"]
    assert names[-4:] == ["own 1.25 N", "own 5 N", "strongest 1.25 N", "strongest 5 N"]
    assert all(cell.attacker != "strongest" for cell in attack_cells(AttackOptions(restarts=0), own=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"force_limits": []}, r"`force_limits` must hold positive newtons, got \[\]"),
        ({"force_limits": [5.0, -1.0]}, "`force_limits` must hold positive newtons"),
        ({"force_limits": [5.0, 5.0]}, "`force_limits` must differ"),
        ({"restarts": -1}, "`restarts` must be at least 0, got -1"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AttackOptions(**options)
