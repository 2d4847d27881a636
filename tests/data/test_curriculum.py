"""The uncertainty set widens while the policy holds its level, and not by the clock."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rrl.data import Curriculum
from rrl.data.curriculum import Widening
from rrl.envs import Pushes
from tests.fitting import adrrl, fit, rollouts, trajectories, trpo

PUSHES = Pushes(force_std=20.0, redraw_probability=0.2)
QUICK = Curriculum(start=0.25, step=0.25, share=0.8, episodes=2)


def widths(*rollouts_of_returns: list[float], **settings):
    """Give the width after each rollout."""
    widening, found = Widening(dataclasses.replace(QUICK, **settings)), []
    for returns in rollouts_of_returns:
        widening.update(returns)
        found.append(widening.width)
    return found


def test_the_set_widens_while_returns_hold_their_level_and_stops_at_the_whole():
    assert widths([10.0, 10.0], [9.0, 9.0], [8.5, 8.5], [8.5, 8.5]) == [0.5, 0.75, 1.0, 1.0]


def test_the_set_stays_while_returns_are_below_their_best_level_and_widens_when_they_recover():
    assert widths([10.0, 10.0], [5.0, 5.0], [7.0, 8.0], [8.0, 8.0]) == [0.5, 0.5, 0.5, 0.75]


def test_rollouts_in_which_no_episode_ended_widen_nothing():
    assert widths([10.0, 10.0], [], []) == [0.5, 0.5, 0.5]


def test_the_set_is_judged_by_enough_episodes_since_it_was_widened():
    assert widths([10.0], [10.0], [10.0], [10.0]) == [0.25, 0.5, 0.5, 0.75]


def test_negative_returns_may_fall_by_the_same_share():
    assert widths([-10.0, -10.0], [-11.9, -11.9], [-14.0, -14.0]) == [0.5, 0.75, 0.75]


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=4), max_size=30))
def test_widths_never_shrink_nor_leave_their_interval(all_returns):
    found = widths(*all_returns)
    assert found == sorted(found)
    assert all(0.25 <= width <= 1.0 for width in found)


def test_saved_curricula_continue_identically():
    source, restored = Widening(QUICK), Widening(QUICK)
    source.update([10.0, 12.0])
    source.update([8.9])
    restored.load_state_dict(source.state_dict())
    for returns in ([8.9], [8.7, 20.0], [1.0, 2.0]):
        source.update(returns)
        restored.update(returns)
        assert source.state_dict() == restored.state_dict()


def hopper(**settings):
    options = {"pushes": PUSHES, "physics": {"mass": (0.5, 1.5)}, "curriculum": QUICK, "num_steps": 40}
    return rollouts("Hopper-v5", **{**options, **settings})


def begun(module, data):
    """Build the worlds of a DataModule as a fit does."""
    data.trainer = SimpleNamespace(lightning_module=module, world_size=1, global_rank=0)
    data.setup("fit")
    return data


@pytest.mark.mujoco
def test_a_resumed_run_goes_on_exactly():
    module = trpo(hopper())
    source, restored = (
        begun(module, hopper(curriculum=dataclasses.replace(QUICK, step=0.1, share=0.0))) for _ in range(2)
    )
    for _ in range(3):
        source.collect()
    saved = source.widening.width
    assert 0.25 < saved < 0.8
    restored.load_state_dict(source.state_dict())
    for _ in range(3):
        first, second = source.collect(), restored.collect()
        assert first.width == second.width
        assert torch.equal(first.transitions.next_observations, second.transitions.next_observations)
    assert first.width > saved
    for data in (source, restored):
        data.teardown("fit")


@pytest.mark.mujoco
def test_first_episodes_are_as_narrow_as_the_start_and_later_ones_wider():
    module = trpo(hopper())
    data = begun(module, hopper(num_envs=32, curriculum=dataclasses.replace(QUICK, share=0.0)))
    factors = []
    for _ in range(5):
        factors.append(abs(data.collector.envs.physics["mass"] - 1.0).max())
        data.collect()
    assert factors[0] <= 0.5 * 0.25
    assert factors[-1] > 0.5 * 0.75
    data.teardown("fit")


@pytest.mark.mujoco
def test_all_of_the_set_is_there_without_a_curriculum():
    data = hopper(curriculum=None, num_envs=32)
    envs = data.make_envs(32)
    envs.reset()
    assert abs(envs.physics["mass"] - 1.0).max() > 0.4


@pytest.mark.mujoco
@pytest.mark.parametrize("kind", [trpo, adrrl])
def test_the_width_of_a_rollout_is_logged(kind):
    disturbed = {"physics": {"mass": (0.5, 1.5)}, "curriculum": dataclasses.replace(QUICK, episodes=1000)}
    data = {trpo: rollouts, adrrl: trajectories}[kind]("Hopper-v5", **disturbed)
    assert fit(kind(data), data).callback_metrics["rollout/curriculum_width"] == 0.25


def test_without_a_curriculum_no_width_is_logged():
    data = rollouts()
    assert "rollout/curriculum_width" not in fit(trpo(data), data).callback_metrics


@pytest.mark.mujoco
def test_settings_are_kept_in_plain_types():
    assert hopper().hparams["curriculum"] == {"start": 0.25, "step": 0.25, "share": 0.8, "episodes": 2}


def test_a_curriculum_of_worlds_that_cannot_widen_is_refused():
    with pytest.raises(ValueError, match="`curriculum` needs `pushes` or ranges of `physics` that can widen, got neit"):
        hopper(pushes=None, physics=None)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("start", -0.1, r"`start` must lie in \[0, 1\]"),
        ("share", 1.1, r"`share` must lie in \[0, 1\]"),
        ("step", 0.0, r"`step` must lie in \(0, 1\]"),
        ("step", math.nan, r"`step` must lie in \(0, 1\]"),
        ("episodes", 0, "`episodes` must be at least 1"),
    ],
)
def test_bad_settings_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        Curriculum(**{name: value})
