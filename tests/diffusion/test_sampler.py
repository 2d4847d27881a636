"""The denoising loop."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rrl.diffusion.guidance import ReverseStep, StepShift
from rrl.diffusion.guidance_strength import GuidanceStrength
from rrl.diffusion.policy_guidance import PolicyGuidance, Reparameterized, Score
from rrl.diffusion.residual_mlp import ResidualMLP, ResidualSizes
from rrl.diffusion.returns import ReturnModel
from rrl.diffusion.sampler import ImaginedTrajectories, TrajectorySampler
from rrl.diffusion.scheduler import DDPM, FewStep, NoiseSchedule
from tests.diffusion import oracles
from tests.diffusion.oracles import RULES, GaussianOracle, Rule, noise_conditional, paper, released, unit_normalizer

OBS_DIM, HORIZON = 3, 4
SCHEDULES = {"ddpm": DDPM(length=16).build(), "few_step": FewStep(steps=8).build()}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def shrinking_denoiser(noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
    """A dummy that depends on all its inputs."""
    return noisy / (1.0 + sigma[:, None, None] ** 2) + 0.1 * actions + 0.01 * start.sum(1)[:, None, None]


def mean_return(observations: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
    """A dummy return."""
    return observations.mean(dim=(1, 2))


def following_policy(observations: Tensor) -> tuple[Tensor, Tensor]:
    """A policy that depends on the observations."""
    return observations[..., :1].tanh(), torch.tensor([0.3])


def make_start(num_samples: int = 6) -> Tensor:
    return torch.linspace(-2.0, 3.0, num_samples * OBS_DIM).view(num_samples, OBS_DIM)


def imagine(schedule: NoiseSchedule, shift: StepShift | None = None, **options: Any) -> ImaginedTrajectories:
    return oracles.imagine(shrinking_denoiser, schedule, make_start(), shift, policy=following_policy, **options)


def assert_equal(first: ImaginedTrajectories, second: ImaginedTrajectories) -> None:
    assert all(torch.equal(column, getattr(second, name)) for name, column in vars(first).items())


@every_schedule
def test_the_first_state_stays_pinned_to_the_bit(schedule: NoiseSchedule):
    imagined = imagine(schedule, paper(mean_return, 0.01))
    assert torch.equal(imagined.observations[:, 0], make_start())


@every_schedule
def test_the_denoiser_always_sees_the_pinned_state(schedule: NoiseSchedule):
    seen = []

    def spy(step: ReverseStep) -> Tensor:
        seen.append([step.sample, step.x0, step.mean])
        return torch.ones_like(step.mean)  # also moves row 0, against the rule

    imagine(schedule, spy)
    assert len(seen) == schedule.num_steps - 1
    assert all((tensor[:, 0, :OBS_DIM] == 0.0).all() for step in seen for tensor in step)


@every_schedule
@pytest.mark.parametrize("alpha_1", [paper(mean_return, 1.0), released(mean_return, 1.0)], ids=type)
def test_scale_0_is_bit_equal_to_unguided(schedule: NoiseSchedule, alpha_1: StepShift):
    assert_equal(imagine(schedule, alpha_1), imagine(schedule))


@every_schedule
def test_strength_0_is_bit_equal_to_unguided(schedule: NoiseSchedule):
    strength = GuidanceStrength()
    strength.log_strength.fill_(-math.inf)
    assert_equal(imagine(schedule, noise_conditional(mean_return, strength)), imagine(schedule))


def test_guidance_does_change_trajectories():
    guided, unguided = imagine(SCHEDULES["few_step"], paper(mean_return, 0.1)), imagine(SCHEDULES["few_step"])
    assert (guided.observations.mean((1, 2)) < unguided.observations.mean((1, 2))).all()


@every_schedule
def test_a_perfect_denoiser_returns_x0(schedule: NoiseSchedule):
    x0 = torch.randn(6, HORIZON, OBS_DIM + 2)
    imagined = oracles.imagine(lambda noisy, actions, start, sigma: x0, schedule, make_start())
    assert torch.equal(imagined.observations[:, 1:], make_start()[:, None] + x0[:, 1:, :OBS_DIM])
    assert torch.equal(imagined.rewards, x0[..., -2])
    assert torch.equal(imagined.ended, x0[..., -1])


LONG_SCHEDULES = {"ddpm": DDPM(length=128).build(), "few_step": FewStep(steps=8).build()}


@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("schedule", LONG_SCHEDULES.values(), ids=LONG_SCHEDULES)
def test_the_sampler_is_the_linear_chain_of_gaussian_trajectories(
    schedule: NoiseSchedule, strength: float, monkeypatch: pytest.MonkeyPatch
):
    oracle, drawn = GaussianOracle(), 0

    def impulses(shape: tuple[int, ...], dtype: torch.dtype, **_: Any) -> Tensor:
        """All noise is zero, but that each trajectory has a 1 in one place: what comes out are the chain's columns."""
        nonlocal drawn
        noise = torch.zeros(shape, dtype=dtype)
        if shape[-1] == oracle.obs_dim + 2:  # the noise of the actions has another shape
            for row in range(1, oracle.horizon):
                for feature in range(oracle.obs_dim):
                    noise[drawn, row, feature] = 1.0
                    drawn += 1
        return noise

    monkeypatch.setattr(torch, "randn", impulses)
    num_draws = schedule.num_steps * len(oracle.covariance)
    guidance = noise_conditional(oracle.expected_return, GuidanceStrength(strength)) if strength else None
    features = oracle.features(oracle.sample(schedule, num_draws + 1, guidance))
    assert drawn == num_draws
    columns, constant = features[:-1] - features[-1], features[-1]
    mean, covariance = oracle.chain_law(schedule, strength)
    # The strength is kept in single precision.
    torch.testing.assert_close(constant, mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(columns.T @ columns, covariance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "tolerance"), [("ddpm", 0.02), ("few_step", 0.04)])
def test_the_linear_chain_has_nearly_the_law_of_the_data(name: str, tolerance: float):
    oracle = GaussianOracle()
    mean, covariance = oracle.chain_law(LONG_SCHEDULES[name])
    spread = (oracle.slope @ covariance @ oracle.slope).sqrt().item()
    assert spread == pytest.approx(oracle.return_std, rel=tolerance)
    assert (oracle.slope @ (mean - oracle.mean)).item() == pytest.approx(0.0, abs=2e-3 * oracle.return_std)


@pytest.mark.parametrize(("name", "num_samples"), [("ddpm", 4096), ("few_step", 16384)])
def test_unguided_samples_have_the_law_of_the_linear_chain(name: str, num_samples: int):
    oracle, schedule = GaussianOracle(), LONG_SCHEDULES[name]
    mean, covariance = oracle.chain_law(schedule)
    features = oracle.features(oracle.sample(schedule, num_samples))
    returns, spread = features @ oracle.slope, (oracle.slope @ covariance @ oracle.slope).sqrt().item()
    assert returns.std().item() == pytest.approx(spread, rel=4 / math.sqrt(2 * num_samples))
    assert returns.mean().item() == pytest.approx((oracle.slope @ mean).item(), abs=4 * spread / math.sqrt(num_samples))
    variances = covariance.diag()
    standard_errors = ((variances[:, None] * variances + covariance**2) / num_samples).sqrt()
    assert ((features.T.cov() - covariance).abs() < 4 * standard_errors).all()


@every_schedule
def test_same_seed_same_trajectories(schedule: NoiseSchedule):
    assert_equal(imagine(schedule, seed=3), imagine(schedule, seed=3))
    assert not torch.equal(imagine(schedule, seed=3).observations, imagine(schedule, seed=4).observations)


def test_no_graph_is_attached():
    torch.manual_seed(0)
    return_model = ReturnModel(OBS_DIM, 1, HORIZON, ResidualSizes(hidden_dim=8, num_layers=1))
    assert not any(
        value.requires_grad for value in vars(imagine(SCHEDULES["few_step"], paper(return_model, 0.1))).values()
    )


def test_actions_are_returned_as_the_policy_draws_them():
    imagined = oracles.imagine(shrinking_denoiser, FewStep(steps=8).build(), make_start(400))
    assert imagined.actions.abs().max() > 2.0  # the box of the actions ends at 1
    assert imagined.action_spread.item() == pytest.approx(1.0, abs=0.1)


def test_the_denoiser_sees_actions_inside_the_box():
    def check(noisy: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
        assert actions.abs().max() <= 1.0
        return shrinking_denoiser(noisy, actions, start, sigma)

    oracles.imagine(check, FewStep(steps=4).build(), make_start(100))


def action_return(observations: Tensor, actions: Tensor, start: Tensor, sigma: Tensor) -> Tensor:
    """A dummy return that falls with the actions too, so that its gradient could tilt them."""
    return observations.mean(dim=(1, 2)) + actions.sum(dim=(1, 2))


@every_schedule
@pytest.mark.parametrize("policy_guidance", [Reparameterized().build(), Score().build()], ids=type)
@every_rule
def test_guidance_moves_actions_through_the_policy_alone(
    schedule: NoiseSchedule, policy_guidance: PolicyGuidance, rule: Rule
):
    # A policy that does not look at the states has no reason to change its actions.
    guided, unguided = (
        oracles.imagine(shrinking_denoiser, schedule, make_start(), shift, policy_guidance=policy_guidance)
        for shift in (rule(action_return), None)
    )
    assert not torch.equal(guided.observations, unguided.observations)
    assert torch.equal(guided.actions, unguided.actions)


@every_schedule
def test_unguided_paths_have_no_divergence(schedule: NoiseSchedule):
    imagined = imagine(schedule)
    assert (imagined.path_kl == 0.0).all()
    assert (imagined.log_ratio == 0.0).all()


def test_log_ratio_is_single_precision_whatever_the_data():
    oracle = GaussianOracle()
    imagined = oracle.sample(FewStep(steps=4).build(), 2, paper(oracle.expected_return, 0.1))
    assert imagined.observations.dtype == torch.float64
    assert imagined.log_ratio.dtype == imagined.path_kl.dtype == torch.float32


class NoHostSync(TorchDispatchMode):
    """Raises where a tensor's value is read by Python, which would stall an accelerator."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default}:
            raise AssertionError("a tensor was read by the host")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy_guidance", [Reparameterized().build(), Score().build()], ids=type)
@every_rule
def test_the_loop_never_waits_for_the_device(rule: Rule, policy_guidance: PolicyGuidance):
    torch.manual_seed(0)
    denoiser = ResidualMLP(hidden_dim=8, num_layers=1).build(OBS_DIM, 1, HORIZON)
    return_model = ReturnModel(OBS_DIM, 1, HORIZON, ResidualSizes(hidden_dim=8, num_layers=1))
    sampler = TrajectorySampler(FewStep(steps=4).build(), unit_normalizer(HORIZON, OBS_DIM))
    options = {"policy_guidance": policy_guidance, "shift": rule(return_model)}
    with NoHostSync():
        imagined = sampler.sample(denoiser, following_policy, make_start(), generator=torch.Generator(), **options)
    assert torch.isfinite(imagined.observations).all()


def test_the_check_for_host_reads_works():
    with pytest.raises(AssertionError, match="read by the host"), NoHostSync():
        torch.ones(1).item()


# Sums of observations, actions, rewards and log-likelihood ratios.
PINNED = {
    "ddpm": [47.0713, 4.1091, 5.3182, 0.0],
    "few_step": [53.0749, 5.2265, -0.5133, 0.0],
    "guided": [21.3944, 3.1057, -1.2677, 12.7275],
    "score": [55.6450, 3.0419, 1.1221, 0.0],
}


@pytest.mark.parametrize("case", ["ddpm", "few_step", "guided", "score"])
def test_the_full_reverse_loop_is_pinned(case: str):
    imagined = imagine(
        SCHEDULES.get(case, SCHEDULES["few_step"]),
        paper(mean_return, 0.1) if case == "guided" else None,
        policy_guidance=Score().build() if case == "score" else None,
    )
    sums = [imagined.observations.sum(), imagined.actions.sum(), imagined.rewards.sum(), imagined.log_ratio.sum()]
    torch.testing.assert_close(torch.stack(sums), torch.tensor(PINNED[case]), rtol=1e-4, atol=1e-4)
