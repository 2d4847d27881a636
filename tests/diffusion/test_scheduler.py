"""Noise schedules and reverse steps, against closed forms and diffusers' schedulers."""

import math

import pytest
import torch
from diffusers import DDPMScheduler, EDMDPMSolverMultistepScheduler

from rrl.diffusion.scheduler import DDPM, FewStep, NoiseSchedule, posterior_variance, tempered_cosine_betas

LEVELS = (1, 32, 64, 96, 127, 128)


def signal_levels(schedule: NoiseSchedule) -> torch.Tensor:
    """Signal fraction (abar) of the levels from high noise to none. Shape ``[K + 1]``."""
    return 1.0 / (1.0 + torch.tensor(schedule.sigmas, dtype=torch.float64).square())


def reference_ddpm(num_steps: int, temperature: float) -> DDPMScheduler:
    scheduler = DDPMScheduler(
        num_train_timesteps=num_steps,
        trained_betas=tempered_cosine_betas(num_steps, temperature),
        prediction_type="sample",
        clip_sample=False,
        variance_type="fixed_small",
    )
    scheduler.set_timesteps(num_steps)
    return scheduler


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, (0.99985, 0.854, 0.5, 0.146, 1.5e-4, 1.5e-7)), (0.1, (0.99998, 0.984, 0.933, 0.825, 0.414, 4.1e-4))],
)
def test_signal_levels_are_those_of_the_tempered_cosine(temperature: float, expected: tuple[float, ...]):
    abar = signal_levels(DDPM(length=128, temperature=temperature).build()).flip(0)[list(LEVELS)]
    torch.testing.assert_close(abar, torch.tensor(expected).double(), rtol=0.02, atol=1e-5 * temperature)


def test_betas_follow_the_closed_form():
    betas = torch.tensor(tempered_cosine_betas(128, 1.0), dtype=torch.float64)
    steps = torch.arange(128, dtype=torch.float64)
    torch.testing.assert_close((1.0 - betas).cumprod(0)[:-1], torch.cos(0.5 * math.pi * steps[1:] / 128).square())
    assert betas[-1] == 0.999


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_ddpm_levels_equal_diffusers_to_the_bit(temperature: float):
    abar = reference_ddpm(128, temperature).alphas_cumprod.double()
    expected = ((1.0 - abar) / abar).sqrt().flip(0).tolist()
    assert DDPM(length=128, temperature=temperature).build().sigmas == (*expected, 0.0)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_ddpm_step_equals_diffusers(temperature: float):
    schedule, scheduler = DDPM(length=16, temperature=temperature).build(), reference_ddpm(16, temperature)
    x0, sample = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for index, timestep in enumerate(scheduler.timesteps.tolist()):
        sigma, next_sigma = schedule.sigmas[index : index + 2]
        mean, std = schedule.reverse_step(index, sample * math.hypot(1.0, sigma), x0, previous_x0=None)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(index))
        expected = scheduler.step(x0, timestep, sample, generator=torch.Generator().manual_seed(index)).prev_sample
        torch.testing.assert_close((mean + std * noise) / math.hypot(1.0, next_sigma), expected, atol=2e-3, rtol=0.0)


def test_posterior_variance_is_the_ddpms_in_other_coordinates():
    schedule, scheduler = DDPM(length=128).build(), reference_ddpm(128, 1.0)
    abar = signal_levels(schedule)
    for index in range(127):
        beta = 1.0 - abar[index] / abar[index + 1]
        expected = float(beta * (1.0 - abar[index + 1]) / (1.0 - abar[index]))
        sigma, next_sigma = schedule.sigmas[index : index + 2]
        variance = posterior_variance(sigma, next_sigma) / (1.0 + next_sigma**2)
        assert variance == pytest.approx(expected, rel=1e-6)
        assert variance == pytest.approx(float(scheduler._get_variance(127 - index)), rel=2e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_few_step_solver_equals_diffusers_sde_dpm_solver(order: int):
    schedule = FewStep(steps=6).build()
    scheduler = EDMDPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_type="midpoint")
    scheduler.sigmas = torch.tensor(schedule.sigmas, dtype=torch.float64)
    x0, previous_x0, sample, noise = torch.randn(4, 3, 4, 5, dtype=torch.float64)
    for index in range(1, 5):
        scheduler._step_index = index
        if order == 1:
            expected = scheduler.dpm_solver_first_order_update(x0, sample=sample, noise=noise)
        else:
            expected = scheduler.multistep_dpm_solver_second_order_update([previous_x0, x0], sample=sample, noise=noise)
        mean, std = schedule.reverse_step(index, sample, x0, previous_x0 if order == 2 else None)
        torch.testing.assert_close(mean + std * noise, expected)


def test_the_ddpm_ignores_the_previous_estimate():
    schedule, (sample, x0, previous_x0) = DDPM(length=4).build(), torch.randn(3, 2, 2)
    assert torch.equal(
        schedule.reverse_step(2, sample, x0, previous_x0)[0], schedule.reverse_step(2, sample, x0, None)[0]
    )


@pytest.mark.parametrize("schedule", [DDPM(length=4).build(), FewStep(steps=4).build()], ids=["ddpm", "few_step"])
def test_the_last_step_returns_the_estimate_without_noise(schedule: NoiseSchedule):
    sample, x0, previous_x0 = torch.randn(3, 2, 2)
    mean, std = schedule.reverse_step(3, sample, x0, previous_x0)
    assert torch.equal(mean, x0)
    assert std == 0.0


@pytest.mark.parametrize("schedule", [DDPM(length=4).build(), FewStep(steps=4).build()], ids=["ddpm", "few_step"])
def test_a_clean_sample_stays_where_it_is(schedule: NoiseSchedule):
    x0 = torch.randn(2, 2, dtype=torch.float64)
    for index in range(4):
        torch.testing.assert_close(schedule.reverse_step(index, x0, x0, x0 if index else None)[0], x0)


def test_few_step_levels_are_log_uniform_between_the_bounds():
    sigmas = torch.tensor(FewStep(steps=8, sigma_min=0.03, sigma_max=20.0).build().sigmas)
    assert sigmas[0] == 20.0
    assert sigmas[-2] == 0.03
    ratios = sigmas[1:-1] / sigmas[:-2]
    torch.testing.assert_close(ratios, ratios[:1].expand(7))


def test_ddpm_trains_on_its_own_levels_alike():
    schedule = DDPM(length=4).build()
    levels, counts = schedule.sample_sigmas(4000, torch.Generator().manual_seed(0)).unique(return_counts=True)
    torch.testing.assert_close(levels, torch.tensor(schedule.sigmas[:-1]).flip(0))
    assert (counts - 1000).abs().max() < 4 * math.sqrt(4000 * 0.25 * 0.75)


def test_few_step_trains_on_all_levels_between_the_bounds():
    levels = FewStep(steps=8).build().sample_sigmas(4000, torch.Generator().manual_seed(0)).log()
    low, high = math.log(0.03), math.log(20.0)
    assert levels.min() >= low - 1e-6
    assert levels.max() <= high + 1e-6
    assert levels.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * 4000))


def test_same_generator_state_same_levels():
    first, second = (FewStep().build().sample_sigmas(9, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("sigmas", [(1.0, 0.5), (0.5, 1.0, 0.0), (0.0,), (1.0, 1.0, 0.0)])
def test_levels_that_do_not_descend_to_0_raise(sigmas: tuple[float, ...]):
    with pytest.raises(ValueError, match="`sigmas` must descend strictly to 0"):
        NoiseSchedule(sigmas, order=1, training_noise="table")


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="`length` must be at least 1, got 0"):
        DDPM(length=0)
    with pytest.raises(ValueError, match=r"`temperature` must be positive, got 0\.0"):
        DDPM(length=8, temperature=0.0)
    with pytest.raises(ValueError, match="`steps` must be at least 2, got 1"):
        FewStep(steps=1)
    with pytest.raises(ValueError, match=r"`sigma_min` and `sigma_max` must obey 0 < min < max, got 2\.0 and 1\.0"):
        FewStep(sigma_min=2.0, sigma_max=1.0)
