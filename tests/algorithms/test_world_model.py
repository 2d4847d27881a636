"""The world model: how it is trained, and what it imagines with and without guidance."""

from __future__ import annotations

import math

import pytest
import torch

from rrl.diffusion import NoGuidance, NoiseConditional, PaperGuidance, ReleasedGuidance, WorstOfM
from tests.fitting import adrrl, fit, snapshot, trajectories

RULES = [PaperGuidance, ReleasedGuidance, NoiseConditional, WorstOfM]
STARTS = torch.linspace(-1.0, 1.0, 12).view(6, 2)


@pytest.fixture(scope="module")
def experienced():
    """A module whose models have seen a few windows."""
    data = trajectories(iterations_per_epoch=4)
    module = adrrl(data, learning_rate=1e-2, ema_decay=0.5, guidance=PaperGuidance(alpha=0.25))
    fit(module, data)
    return module


def imagine(module, *, guided, rule=NoGuidance, alpha=0.25):
    module.world_model.guidance = rule(alpha=alpha)
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
    guided = imagine(experienced, guided=True, rule=NoiseConditional)
    strength.copy_(before)
    assert_bit_equal(guided, imagine(experienced, guided=False))
    assert (guided.path_kl == 0.0).all()


@pytest.mark.parametrize("rule", RULES)
def test_the_whole_distribution_as_tail_is_no_guidance(experienced, rule):
    guided = imagine(experienced, guided=True, rule=rule, alpha=1.0)
    assert_bit_equal(guided, imagine(experienced, guided=False))
    assert (guided.path_kl == 0.0).all()
    assert (guided.log_ratio == 0.0).all()


@pytest.mark.parametrize("rule", RULES)
def test_guidance_changes_what_is_imagined(experienced, rule):
    guided, unguided = imagine(experienced, guided=True, rule=rule), imagine(experienced, guided=False)
    assert not torch.equal(guided.observations, unguided.observations)
    assert torch.equal(guided.observations[:, 0], STARTS)


def test_worst_of_m_keeps_the_worst_draw_of_each_start(experienced):
    picked = imagine(experienced, guided=True, rule=WorstOfM, alpha=0.25)
    torch.manual_seed(0)
    draws = experienced.imagine(STARTS.repeat_interleave(4, dim=0), guided=False)
    assert torch.equal(picked.returns, draws.returns.view(6, 4).min(dim=1).values)
    torch.testing.assert_close(picked.path_kl, torch.full((6,), math.log(4) - 3 / 4))
    assert torch.equal(picked.log_ratio, picked.path_kl)


def test_smaller_tail_levels_keep_worse_draws(experienced):
    starts, means = STARTS.repeat(100, 1), []
    for alpha in (1.0, 0.5, 0.2, 0.05):
        experienced.world_model.guidance = WorstOfM(alpha=alpha)
        torch.manual_seed(0)
        means.append(experienced.imagine(starts, guided=True).returns.mean())
    returns = experienced.imagine(starts, guided=False).returns.view(100, 6)
    # The worst of 1, 2, 5 and 20 Gaussian draws would lie at least 0.56 standard deviations of the draws of one start
    # apart; the tails are shorter here. Each mean has a standard error of at most 0.04 of them.
    assert (torch.stack(means).diff() < -0.2 * returns.std(dim=0).mean()).all()


def test_the_cvar_target_compares_the_guided_mean_with_the_unguided_tail(experienced):
    model = experienced.world_model
    unguided, guided = (imagine(experienced, guided=kind, rule=NoiseConditional, alpha=0.5) for kind in (False, True))
    model.guidance, before = NoiseConditional(alpha=0.5, target="cvar"), model.strength.value
    logged = model.adapt_guidance(guided, unguided)["guidance/strength"]
    model.strength.log_strength.copy_(before.log())
    values = experienced.protagonist.value(STARTS).detach()
    nominal, tilted = (part.returns - values for part in (unguided, guided))
    error = (tilted.mean() - nominal.sort().values[:3].mean()) / nominal.std()
    torch.testing.assert_close(logged, before * (0.5 * error).exp())


def test_what_imagines_is_a_moving_average():
    data = trajectories(iterations_per_epoch=1, model_updates=1)
    module = adrrl(data, ema_decay=0.75)
    before = snapshot(module.world_model)
    fit(module, data)
    after = module.world_model.state_dict()
    for name in (name for name in after if name.startswith("models.denoiser.")):
        average = name.replace("denoiser", "denoiser_average", 1)
        # The first update decays by 2 / 11 at most.
        torch.testing.assert_close(after[average], torch.lerp(before[name], after[name], 9 / 11))


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
        fit(adrrl(data, learning_rate=1e30), data)
