import numpy as np
import pytest

from rrl.envs.forces import Pushes, PushProcess


def process(pushes: Pushes, num_worlds: int, first_world: int = 0) -> PushProcess:
    made = PushProcess(pushes, [np.random.default_rng(first_world + world) for world in range(num_worlds)])
    made.restart(np.arange(num_worlds))
    return made


def forces(made: PushProcess, num_steps: int) -> np.ndarray:
    return np.stack([made.advance() for _ in range(num_steps)])


def test_forces_have_the_stated_deviation():
    drawn = forces(process(Pushes(force_std=7.0, redraw_probability=1.0), 20), 1000)
    assert drawn.std() == pytest.approx(7.0, rel=0.02)
    assert drawn.mean() == pytest.approx(0.0, abs=0.2)


def test_forces_change_as_often_as_stated():
    drawn = forces(process(Pushes(force_std=1.0, redraw_probability=0.05), 20), 2000)
    assert (np.diff(drawn, axis=0) != 0).mean() == pytest.approx(0.05, rel=0.1)


def test_probability_zero_holds_a_push():
    drawn = forces(process(Pushes(force_std=1.0, redraw_probability=0.0), 2), 600)
    np.testing.assert_array_equal(drawn, np.tile(drawn[:1], (600, 1)))
    assert (drawn != 0).all()


def test_restart_draws_anew_for_the_named_worlds_only():
    made = process(Pushes(force_std=1.0, redraw_probability=0.0), 3)
    before = made.forces.copy()
    made.restart(np.array([1]))
    np.testing.assert_array_equal(made.forces == before, [True, False, True])


def test_a_world_does_not_depend_on_the_others():
    pushes = Pushes(force_std=1.0, redraw_probability=0.1)
    together, alone = process(pushes, 3), process(pushes, 1, first_world=2)
    np.testing.assert_array_equal(forces(together, 600)[:, 2:], forces(alone, 600))


@pytest.mark.parametrize("steps_before", [0, 100, 256, 300])
def test_saved_process_continues_exactly(steps_before):
    pushes = Pushes(force_std=1.0, redraw_probability=0.1)
    made, resumed = process(pushes, 2), process(pushes, 2, first_world=9)
    for _ in range(steps_before):
        made.advance()
    resumed.load_state_dict(made.state_dict())
    np.testing.assert_array_equal(forces(made, 600), forces(resumed, 600))


@pytest.mark.parametrize("force_std", [0.0, -1.0, np.inf, np.nan])
def test_deviation_out_of_range_raises(force_std):
    with pytest.raises(ValueError, match="`force_std` must be positive"):
        Pushes(force_std=force_std, redraw_probability=0.1)


@pytest.mark.parametrize("probability", [-0.1, 1.1, np.nan])
def test_probability_out_of_range_raises(probability):
    with pytest.raises(ValueError, match="`redraw_probability` must lie in"):
        Pushes(force_std=1.0, redraw_probability=probability)
