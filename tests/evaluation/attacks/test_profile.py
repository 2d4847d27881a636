"""The force profile: what it holds constant, what it varies, and its area."""

import numpy as np
import pytest

from rrl.evaluation.attacks.profile import IMPULSE_STEPS, force_profile, profile_area, profile_attacks
from rrl.evaluation.episodes import Trial
from tests.evaluation.controllers import TASK, balance


@pytest.mark.mujoco
def test_the_return_falls_with_the_force_and_all_attacks_agree_without_one():
    points = force_profile(balance, Trial(TASK, 2), forces=(0.0, 0.1, 30.0))
    assert [point.force_limit for point in points] == [0.0, 0.1, 30.0] * len(profile_attacks(Trial(TASK, 2)))
    unforced = {point.return_mean for point in points if point.force_limit == 0.0}
    assert unforced == {1000.0}
    strong = {point.attack: point for point in points if point.force_limit == 30.0}
    assert all(strong[name].return_mean < 500.0 for name in strong if name.startswith("held"))
    assert all(point.survived == 0.0 for name, point in strong.items() if name.startswith("held"))
    # 1 for each step but the one that fails.
    assert all(point.length_mean - point.return_mean == pytest.approx(1.0 - point.survived) for point in points)


@pytest.mark.mujoco
def test_attacks_draw_the_same_at_every_force_and_in_every_profile():
    seen = []

    def spy(make):
        def remembering(shape, seed):
            attack = make(shape, seed)

            def act(observations, starts):
                seen.append(np.array(attack(observations, starts)))
                return seen[-1]

            return act

        return remembering

    attacks = {"impulse": spy(profile_attacks(Trial(TASK, 2))["impulse"])}
    profiles = [force_profile(balance, Trial(TASK, 2), forces=(0.0, 0.1), attacks=attacks) for _ in range(2)]
    assert profiles[0] == profiles[1]
    pushes = np.stack(seen).reshape(4, 1000, 2, -1)
    assert (pushes == pushes[0]).all()


def test_impulses_are_short_and_push_a_third_of_the_time():
    attack = profile_attacks(Trial(TASK, 2))["impulse"]((200, 2), 0)
    starts = np.ones(200, dtype=bool)
    pushes = np.stack([attack(np.zeros((200, 1)), starts & (step == 0)) for step in range(400)])
    pushing = (pushes != 0.0).any(axis=-1)
    assert pushing[50:].mean() == pytest.approx(1.0 / 3.0, abs=0.02)
    world = np.flatnonzero(pushing[:100, 0])
    assert len(np.unique(pushes[world[:IMPULSE_STEPS], 0], axis=0)) == 1
    assert np.abs(pushes).max() <= 1.0


def test_the_area_of_a_flat_profile_is_its_height():
    assert profile_area([0.0, 2.0, 5.0], np.full(3, 7.0)) == pytest.approx(7.0)


@pytest.mark.parametrize("forces", [[1.0], [0.0, 2.0, 1.0]])
def test_forces_that_do_not_ascend_have_no_area(forces):
    with pytest.raises(ValueError, match="`forces` must hold at least two ascending numbers"):
        profile_area(forces, np.ones(len(forces)))
