"""The trajectory models: what they imagine, where it ends, and what of it counts."""

from __future__ import annotations

import math

import pytest
import torch

from rrl.diffusion import ImaginedTrajectories
from tests.fitting import adrrl, fit, snapshot, trajectories

STARTS = torch.linspace(-1.0, 1.0, 12).view(6, 2)


@pytest.fixture(scope="module")
def experienced():
    """A module whose models have seen a few windows."""
    data = trajectories(iterations_per_epoch=4)
    module = adrrl(data, model_learning_rate=1e-2, ema_decay=0.5)
    fit(module, data)
    return module


def imagine(module, *, guided, rule=None, alpha=0.25):
    module.world_model.guidance, module.world_model.alpha = rule or "none", alpha
    torch.manual_seed(0)
    return module.imagine(STARTS, guided=guided)


def assert_bit_equal(first, second):
    for name in ("observations", "actions", "rewards", "ended"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_without_guidance_guided_imagination_is_unguided(experienced):
    assert_bit_equal(imagine(experienced, guided=True), imagine(experienced, guided=False))


def test_guidance_of_strength_zero_is_none(experienced):
    strength = experienced.world_model.strength.log_strength
    before = strength.clone()
    strength.fill_(-torch.inf)
    guided = imagine(experienced, guided=True, rule="noise_cond")
    strength.copy_(before)
    assert_bit_equal(guided, imagine(experienced, guided=False))
    assert (guided.path_kl == 0.0).all()


@pytest.mark.parametrize("rule", ["paper", "released", "noise_cond", "worst_of_m"])
def test_the_whole_distribution_as_tail_is_no_guidance(experienced, rule):
    guided = imagine(experienced, guided=True, rule=rule, alpha=1.0)
    assert_bit_equal(guided, imagine(experienced, guided=False))
    assert (guided.path_kl == 0.0).all()
    assert (guided.log_ratio == 0.0).all()


@pytest.mark.parametrize("rule", ["paper", "released", "noise_cond", "worst_of_m"])
def test_guidance_changes_what_is_imagined(experienced, rule):
    guided, unguided = imagine(experienced, guided=True, rule=rule), imagine(experienced, guided=False)
    assert not torch.equal(guided.observations, unguided.observations)
    assert torch.equal(guided.observations[:, 0], STARTS)


def test_worst_of_m_keeps_the_worst_draw_of_each_start(experienced):
    model, player = experienced.world_model, experienced.protagonist
    picked = imagine(experienced, guided=True, rule="worst_of_m", alpha=0.25)
    torch.manual_seed(0)
    draws = experienced.imagine(STARTS.repeat_interleave(4, dim=0), guided=False)
    worst = model.predicted_returns(draws, player).view(6, 4).min(dim=1).values
    torch.testing.assert_close(model.predicted_returns(picked, player), worst)
    torch.testing.assert_close(picked.path_kl, torch.full((6,), math.log(4) - 3 / 4))
    assert torch.equal(picked.log_ratio, picked.path_kl)


def test_smaller_tail_levels_keep_worse_draws(experienced):
    model, player, starts = experienced.world_model, experienced.protagonist, STARTS.repeat(100, 1)
    model.guidance = "worst_of_m"
    means = []
    for alpha in (1.0, 0.5, 0.2, 0.05):
        model.alpha = alpha
        torch.manual_seed(0)
        means.append(model.predicted_returns(experienced.imagine(starts, guided=True), player).mean())
    returns = model.predicted_returns(experienced.imagine(starts, guided=False), player).view(100, 6)
    # The worst of 1, 2, 5 and 20 Gaussian draws would lie at least 0.56 standard deviations of the draws of one start
    # apart; the tails are shorter here. Each mean has a standard error of at most 0.04 of them.
    assert (torch.stack(means).diff() < -0.2 * returns.std(dim=0).mean()).all()


def test_the_cvar_target_compares_the_guided_mean_with_the_unguided_tail(experienced):
    model, player = experienced.world_model, experienced.protagonist
    unguided, guided = (imagine(experienced, guided=kind, rule="noise_cond", alpha=0.5) for kind in (False, True))
    before = model.strength.value
    model.strength_target = "cvar"
    try:
        logged = model.adapt_guidance(guided, unguided, player)["guidance/strength"]
    finally:
        model.strength_target = "kl"
        model.strength.log_strength.copy_(before.log())
    nominal, tilted = (
        model.predicted_returns(part, player) - player.value(STARTS).detach() for part in (unguided, guided)
    )
    worst_half = nominal.sort().values[:3].mean()
    error = (tilted.mean() - worst_half) / nominal.std()
    torch.testing.assert_close(logged, before * (0.5 * error).exp())


def by_hand(observations, *, actions=None, ended=None) -> ImaginedTrajectories:
    """One trajectory of four rows in the two observations of the point mass, reward 1 each."""
    zeros = torch.zeros(1, 4)
    return ImaginedTrajectories(
        observations=torch.tensor(observations).view(1, 4, 1).expand(-1, -1, 2),
        actions=zeros.unsqueeze(-1) if actions is None else torch.tensor(actions).view(1, 4, 1),
        rewards=torch.ones(1, 4),
        ended=torch.full((1, 4), -1.0) if ended is None else torch.tensor(ended).view(1, 4),
        log_ratio=zeros[:, 0],
        path_kl=zeros[:, 0],
        action_spread=torch.tensor(1.0),
    )


def small_data():
    return trajectories()


def fresh(data=None, **settings):
    """A module whose policy has a mean action of about 0 and a standard deviation of 1, and whose values are 0."""
    module = adrrl(data or trajectories(), **settings)
    torch.nn.init.zeros_(module.protagonist.value_function.network[-1].weight)
    return module


def test_the_tasks_own_test_cuts_what_is_imagined():
    data = small_data()
    data.spaces.healthy_low, data.spaces.healthy_high = [-1.0, -1.0], [1.0, 1.0]
    module = fresh(data)
    trajectories = by_hand([0.0, 0.5, 2.0, 0.0], ended=[1.0, 1.0, 1.0, 1.0])
    rollout = module.world_model.as_rollout(trajectories, module.protagonist)
    assert rollout.terminated[:, 0].tolist() == [False, True, False]
    assert rollout.weights[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert rollout.value_weights[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert rollout.next_observations[1, 0].tolist() == [2.0, 2.0]
    assert not rollout.truncated.any()


def test_without_such_a_test_the_end_is_learnt():
    module = fresh()
    trajectories = by_hand([0.0, 0.5, 2.0, 0.0], ended=[-0.9, 0.1, -0.9, -0.9])
    rollout = module.world_model.as_rollout(trajectories, module.protagonist)
    assert rollout.terminated[:, 0].tolist() == [False, True, False]
    assert rollout.weights[:, 0].tolist() == [1.0, 1.0, 0.0]


def test_nothing_counts_from_the_first_action_that_is_not_the_policys():
    module = fresh()
    trajectories = by_hand([0.0, 0.0, 0.0, 0.0], actions=[0.0, 9.0, 0.0, 0.0])
    rollout = module.world_model.as_rollout(trajectories, module.protagonist)
    assert rollout.weights[:, 0].tolist() == [1.0, 0.0, 0.0]
    assert rollout.truncated[:, 0].tolist() == [True, False, False]


def test_returns_stop_at_the_imagined_end():
    module = fresh(gamma=0.5)
    returns = module.world_model.predicted_returns(
        by_hand([0.0] * 4, ended=[-1.0, 1.0, -1.0, -1.0]), module.protagonist
    )
    torch.testing.assert_close(returns, torch.tensor([1.5]))


def test_returns_go_on_with_the_value_of_the_last_state_if_told():
    trajectories = by_hand([0.0] * 4)
    for bootstrap, expected in ((True, 1.0 + 0.5 + 0.25 + 0.125 * 8.0), (False, 1.0 + 0.5 + 0.25)):
        module = fresh(gamma=0.5, bootstrap=bootstrap)
        torch.nn.init.constant_(module.protagonist.value_function.network[-1].bias, 8.0)
        returns = module.world_model.predicted_returns(trajectories, module.protagonist)
        torch.testing.assert_close(returns, torch.tensor([expected]))


def test_what_imagines_is_a_moving_average():
    data = trajectories(iterations_per_epoch=1, model_updates=1)
    module = adrrl(data, ema_decay=0.75)
    before = snapshot(module.world_model)
    fit(module, data)
    after = module.world_model.state_dict()
    for name in (name for name in after if name.startswith("denoiser.")):
        average = name.replace("denoiser.", "denoiser_average.")
        torch.testing.assert_close(after[average], torch.lerp(before[name], after[name], 0.25))


def test_held_out_windows_change_nothing(experienced):
    data = trajectories()
    data.setup("fit")
    data.buffer.add(data.collector.collect(experienced, 16))
    before = snapshot(experienced)
    metrics = experienced.world_model.evaluate(data.buffer.sample_windows(8), experienced.protagonist)
    data.teardown("fit")
    assert all(torch.equal(before[name], tensor) for name, tensor in experienced.state_dict().items())
    assert metrics.keys() == {
        "diffusion/heldout_loss",
        "diffusion/return_correlation",
        "diffusion/real_termination_rate",
    }


def test_models_that_diverge_stop_the_run():
    data = trajectories(model_updates=8)
    with pytest.raises(FloatingPointError, match="the trajectory models diverged"):
        fit(adrrl(data, model_learning_rate=1e30), data)
