"""The diagnosis of imagination, by a model that is right by construction: it imagines with the simulator itself."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rrl.algorithms.advantage_batch import advantage_batch
from rrl.algorithms.mixture import JudgedTrajectories
from rrl.data import TrajectoryDataModule
from rrl.diffusion import Score
from rrl.envs import Pushes, make_vec_env
from rrl.evaluation import ImaginationDiagnostics
from rrl.evaluation.training.replays import replay
from rrl.policies import ActorCritic, Learner
from rrl.rollout import RolloutCollector
from rrl.rollout.buffer import StartStates
from tests.fitting import adrrl, fit, snapshot, trajectories

STARTS, DRAWS, HORIZON, STD = 24, 16, 6, 0.4
MODEL_KEYS = {
    "model/replay_error",
    "model/persistence_error",
    "model/advantage_agreement",
    "model/gradient_agreement",
    "model/imagined_termination_rate",
    "model/replayed_termination_rate",
}
EFFECT_KEYS = {
    "guidance/return_shift",
    "guidance/quantile",
    "guidance/unguided_quantile",
    "guidance/closed_loop_quantile",
    "guidance/unguided_closed_loop_quantile",
}


def rows_of(*rows: int):
    return {f"model/replay_error_{row}" for row in rows}


def blind() -> ActorCritic:
    """Make a player that acts at random, whatever it sees; so actions mean the same in all worlds."""
    torch.manual_seed(0)
    player = ActorCritic(11, 3, Learner(hidden_sizes=[8], initial_log_std=math.log(STD)))
    torch.nn.init.zeros_(player.policy.mean[-1].weight)
    torch.nn.init.zeros_(player.value_function.network[-1].weight)
    return player


class Judge:
    """Returns are sums of rewards."""

    healthy_low = torch.full((11,), -torch.inf)
    healthy_high = torch.full((11,), torch.inf)
    models = SimpleNamespace(normalizer=SimpleNamespace(start_std=torch.ones(11)))

    def window_returns(self, windows, player):
        return windows.rewards.sum(dim=1)


class Oracle:
    """Imagines by stepping worlds like those of the training; guided, it keeps the worst of several draws.

    Each start has its own actions. It may get the sign of rewards wrong, and drift away by a constant a step.
    """

    device = "cpu"

    def __init__(
        self, data: TrajectoryDataModule, states: torch.Tensor, *, sign: float = 1.0, drift: float = 0.0
    ) -> None:
        self.sign, self.drift = sign, drift * torch.arange(HORIZON).unsqueeze(-1)
        self.envs, self.states = data.make_envs(STARTS * DRAWS, seed=123), states
        self.protagonist, self.world_model, self.env_steps = blind(), Judge(), 0
        self.actions = STD * torch.randn(STARTS, HORIZON, 3, generator=torch.Generator().manual_seed(0))

    def advantage_batch(self, player, batches):
        return advantage_batch(player, batches, Learner())

    def imagine(self, starts, *, guided, generator):
        actions = self.actions
        done = replay(self.envs, self.states, lambda step, seen: actions[:, step], draws=DRAWS, horizon=HORIZON)
        observations, rewards = done.observations, done.rewards
        if guided:
            worst = rewards.sum(dim=2).argmin(dim=0, keepdim=True)
            observations, rewards = (
                torch.stack([column[draw, start] for start, draw in enumerate(worst[0])]).unsqueeze(0)
                for column in (observations, rewards)
            )
        observations, rewards = (column.transpose(0, 1).flatten(0, 1) for column in (observations, rewards))
        assert torch.equal(observations[:, 0], starts)
        actions = actions.repeat_interleave(len(starts) // STARTS, dim=0)
        nothing = torch.zeros(len(starts))
        return JudgedTrajectories(
            observations=observations + self.drift,
            actions=actions,
            rewards=self.sign * rewards,
            ended=-torch.ones_like(rewards),
            log_ratio=nothing,
            path_kl=nothing,
            deviations=actions / STD,
            terminated=torch.zeros_like(rewards, dtype=torch.bool),
            returns=rewards.sum(dim=1),
            gains=nothing,
        )


def diagnose(*, sign=1.0, drift=0.0, **disturbances):
    data = trajectories("Hopper-v5", horizon=HORIZON, **disturbances)
    data.recent_starts = 10
    envs = data.make_envs(STARTS, nominal=True)
    observations, _ = envs.reset()
    states = StartStates(torch.from_numpy(observations).float(), torch.from_numpy(envs.simulator_states()))
    data.buffer = SimpleNamespace(sample_starts=lambda count, recent, generator: states)
    diagnostics = ImaginationDiagnostics(starts=STARTS, draws=DRAWS)
    metrics = diagnostics.diagnose(data, Oracle(data, states.simulator_states, sign=sign, drift=drift))
    diagnostics.teardown(None, None, "fit")
    assert diagnostics.envs is None
    return metrics


@pytest.mark.mujoco
def test_a_perfect_model_of_unchanged_worlds_lies_in_the_middle_without_error():
    metrics = diagnose()
    assert metrics.keys() == MODEL_KEYS | EFFECT_KEYS | rows_of(1, 3, 5)
    # All worlds do the same, so even the worst draw is what happens.
    for name in EFFECT_KEYS - {"guidance/return_shift"}:
        assert metrics[name] == 0.5, name
    assert all(metrics[name] == 0.0 for name in ("model/replay_error", *rows_of(1, 3, 5)))
    assert metrics["model/advantage_agreement"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["model/gradient_agreement"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["model/persistence_error"] > 0.01
    assert metrics["guidance/return_shift"] == 0.0


@pytest.mark.mujoco
def test_a_model_that_mistakes_good_for_bad_disagrees_with_the_real_update():
    metrics = diagnose(sign=-1.0)
    assert metrics["model/replay_error"] == 0.0
    assert metrics["model/advantage_agreement"] == pytest.approx(-1.0, abs=1e-3)
    assert metrics["model/gradient_agreement"] == pytest.approx(-1.0, abs=1e-3)


@pytest.mark.mujoco
def test_the_replay_error_of_a_row_is_the_distance_in_that_row():
    metrics = diagnose(drift=0.01)
    for row in (1, 3, 5):
        assert metrics[f"model/replay_error_{row}"] == pytest.approx(0.01 * row, rel=1e-3)
    mean_square = sum((0.01 * row) ** 2 for row in range(1, 6)) / 5
    assert metrics["model/replay_error"] == pytest.approx(mean_square**0.5, rel=1e-3)


@pytest.mark.mujoco
def test_a_perfect_model_of_uncertain_worlds_lies_in_the_middle_and_its_worst_draws_in_the_tail():
    metrics = diagnose(pushes=Pushes(force_std=20.0, redraw_probability=0.5), physics={"mass": (0.5, 1.5)})
    assert metrics["guidance/unguided_quantile"] == pytest.approx(0.5, abs=0.15)
    assert metrics["guidance/unguided_closed_loop_quantile"] == pytest.approx(0.5, abs=0.15)
    assert metrics["guidance/quantile"] < 0.15
    assert metrics["guidance/closed_loop_quantile"] < 0.15
    assert metrics["guidance/return_shift"] < -1.0
    assert metrics["model/replay_error"] < metrics["model/persistence_error"]
    # Imagination and simulator met different disturbances, so not even this model agrees in all.
    assert 0.2 < metrics["model/advantage_agreement"] < 0.95
    assert 0.9 < metrics["model/gradient_agreement"] < 0.9999


@pytest.mark.mujoco
def test_a_training_run_logs_all_metrics_in_the_right_epochs():
    data = trajectories("Hopper-v5", iterations_per_epoch=1)
    diagnostics, seen = ImaginationDiagnostics(every_n_epochs=2, starts=4, draws=3), []
    measure = diagnostics.diagnose
    diagnostics.diagnose = lambda data, module: seen.append(module.current_epoch) or measure(data, module)
    logged = fit(adrrl(data), data, max_epochs=3, callbacks=(diagnostics,)).callback_metrics
    assert seen == [1, 2]
    assert logged.keys() > MODEL_KEYS | EFFECT_KEYS | rows_of(1, 2, 3)
    assert diagnostics.envs is None


@pytest.mark.mujoco
def test_looking_at_the_imagination_changes_nothing():
    outcomes = []
    for every_n_epochs in (1, 1000):
        data = trajectories("Hopper-v5", iterations_per_epoch=1)
        # The score rule adapts to what is imagined, so that one diagnosis too many would show.
        module = adrrl(data, policy_guidance=Score())
        fit(module, data, max_epochs=3, callbacks=(ImaginationDiagnostics(every_n_epochs, starts=4, draws=3),))
        module.imagined_returns()  # for the figure at the end
        outcomes.append((snapshot(module), torch.get_rng_state()))
    (often, state), (once, same_state) = outcomes
    assert [name for name in often if not torch.equal(often[name], once[name])] == []
    assert torch.equal(state, same_state)


def test_worlds_that_cannot_be_replayed_show_the_shift_alone():
    data = trajectories("toy/PointMass-v0", iterations_per_epoch=1)
    logged = fit(adrrl(data), data, callbacks=(ImaginationDiagnostics(starts=4, draws=3),)).callback_metrics
    assert {name for name in logged if name in MODEL_KEYS | EFFECT_KEYS} == {"guidance/return_shift"}


@pytest.mark.parametrize("name", ["every_n_epochs", "starts", "draws"])
def test_bad_sizes_are_refused(name):
    with pytest.raises(ValueError, match=f"`diagnostics.{name}` must be at least 1, got 0"):
        ImaginationDiagnostics(**{name: 0})


class Noise:
    """Acts at random."""

    def act(self, observations, noise):
        return 0.1 * noise


def rollout_of(env_id: str, num_steps: int):
    return RolloutCollector(make_vec_env(env_id, 3, seed=1), seed=1).collect(Noise(), num_steps)


@pytest.mark.mujoco
@pytest.mark.parametrize("env_id", ["InvertedPendulum-v5", "HalfCheetah-v5", "Hopper-v5"])
def test_a_real_rollout_is_reproduced_from_its_own_state(env_id):
    real = rollout_of(env_id, 9)
    assert not real.transitions.ended[3:8].any()
    actions = real.transitions.actions[3:].transpose(0, 1)
    envs = make_vec_env(env_id, 3, seed=7)
    again = replay(envs, real.simulator_states[3], lambda step, seen: actions[:, step], draws=1, horizon=6)
    assert torch.equal(again.observations[0], real.transitions.observations[3:].transpose(0, 1))
    assert torch.equal(again.rewards[0, :, :-1], real.transitions.rewards[3:8].transpose(0, 1))
    assert again.valid[:, :, :-1].all()
    assert not again.valid[:, :, -1].any()


def falling(draws: int):
    """Replay a pendulum that is about to fall, and one that stands."""
    states = torch.tensor([[0.0, 0.19, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    envs = make_vec_env("InvertedPendulum-v5", 2 * draws, seed=0)
    return replay(envs, states, lambda step, seen: torch.zeros(2, 1), draws=draws, horizon=5)


@pytest.mark.mujoco
def test_nothing_happens_behind_an_episodes_end():
    fallen = falling(1)
    assert fallen.terminated[0].tolist() == [[True] + [False] * 4, [False] * 5]
    assert fallen.valid[0].tolist() == [[True] + [False] * 4, [True] * 4 + [False]]
    assert fallen.rewards[0, 0, 1:].tolist() == [0.0] * 4
    assert fallen.observations[0, 0, 1, 1] > 0.2
    assert (fallen.observations[0, 0, 1:] == fallen.observations[0, 0, 1]).all()


@pytest.mark.mujoco
def test_draws_are_rows_and_equal_in_unchanged_worlds():
    one, three = falling(1), falling(3)
    assert three.observations.shape == (3, 2, 5, 4)
    assert torch.equal(three.observations, one.observations.expand(3, -1, -1, -1))
    windows = three.as_windows()
    assert windows.observations.shape == (6, 5, 4)
    assert torch.equal(windows.observations[2:4], three.observations[1])


@pytest.mark.mujoco
def test_actions_may_answer_what_each_world_shows():
    seen_by_policy = []

    def choose(step, seen):
        seen_by_policy.append(seen)
        return seen[..., :1]

    envs = make_vec_env("InvertedPendulum-v5", 4, seed=0, physics={"mass": (0.5, 1.5)})
    states = torch.zeros(2, 4, dtype=torch.float64)
    done = replay(envs, states, choose, draws=2, horizon=3)
    assert torch.equal(torch.stack(seen_by_policy, dim=2), done.observations[:, :, :2])


@pytest.mark.mujoco
def test_worlds_that_cannot_be_set_are_refused():
    states = torch.zeros(2, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="`envs` must have 6 worlds, got 4"):
        replay(make_vec_env("InvertedPendulum-v5", 4), states, lambda step, seen: states, draws=3, horizon=3)
    with pytest.raises(TypeError, match="`envs` must be native worlds"):
        replay(make_vec_env("toy/PointMass-v0", 2), states, lambda step, seen: states, draws=1, horizon=3)


@pytest.mark.mujoco
def test_actions_are_clipped_to_the_action_box():
    envs = make_vec_env("InvertedPendulum-v5", 1)
    states = np.zeros((1, 4))
    loud, full = (
        replay(envs, torch.from_numpy(states), lambda step, seen, a=a: torch.full((1, 1), a), draws=1, horizon=3)
        for a in (50.0, 3.0)
    )
    assert torch.equal(loud.observations, full.observations)
