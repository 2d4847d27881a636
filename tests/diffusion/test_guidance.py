"""The CVaR guidance, against the closed forms of Gaussian trajectories and for untrained networks."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from rrl.diffusion.causal import CausalGRU
from rrl.diffusion.denoiser import DenoiseFunction, DenoiserSettings
from rrl.diffusion.guidance import ReverseStep, StepShift, mean_shift, return_gradient, unit_direction
from rrl.diffusion.guidance_rules import (
    GuidanceSettings,
    NoGuidance,
    NoiseConditional,
    PaperGuidance,
    ReleasedGuidance,
    WorstOfM,
    select_worst,
)
from rrl.diffusion.guidance_strength import GuidanceStrength
from rrl.diffusion.residual_mlp import ResidualMLP, ResidualSizes
from rrl.diffusion.returns import ReturnModel
from rrl.diffusion.sampler import ImaginedTrajectories
from rrl.diffusion.scheduler import DDPM, FewStep, NoiseSchedule
from rrl.diffusion.unet import TemporalUNet
from tests.diffusion import oracles
from tests.diffusion.oracles import RULES, GaussianOracle, noise_conditional, paper, released

OBS_DIM, HORIZON = 3, 4
SCHEDULES = {"ddpm": DDPM(length=128).build(), "few_step": FewStep(steps=8).build()}


SMALL = ResidualSizes(hidden_dim=24, num_layers=1)
DENOISERS: dict[str, DenoiserSettings] = {
    "residual_mlp": ResidualMLP(hidden_dim=24, num_layers=1),
    "unet": TemporalUNet(channels=(8, 8)),
    "causal_gru": CausalGRU(width=16),
}


def random_networks(kind: str = "residual_mlp") -> tuple[DenoiseFunction, ReturnModel]:
    """Untrained networks; the denoiser's output layers, which start at zero, are random too."""
    torch.manual_seed(0)
    denoiser = DENOISERS[kind].build(OBS_DIM, 1, HORIZON)
    for parameter in denoiser.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return denoiser, ReturnModel(OBS_DIM, 1, HORIZON, SMALL)


def imagine(
    denoiser: DenoiseFunction, schedule: NoiseSchedule, guidance: StepShift | None, num_samples: int = 2000
) -> ImaginedTrajectories:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(num_samples, OBS_DIM, generator=generator)
    return oracles.imagine(denoiser, schedule, start, guidance, seed=generator)


def make_step(dtype: torch.dtype = torch.float32) -> ReverseStep:
    generator = torch.Generator().manual_seed(0)
    sample, x0, mean = torch.randn(3, 5, HORIZON, OBS_DIM + 2, generator=generator, dtype=dtype)
    actions = torch.randn(5, HORIZON, 1, generator=generator, dtype=dtype)
    start = torch.randn(5, OBS_DIM, generator=generator, dtype=dtype)
    return ReverseStep(8, sample, x0, mean, math.sqrt(0.75), 2.0, 1.0, actions, start)


@pytest.mark.parametrize("kind", DENOISERS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_papers_rule_spends_its_budget_with_any_networks(kind: str, schedule: NoiseSchedule, alpha: float):
    denoiser, return_model = random_networks(kind)
    imagined = imagine(denoiser, schedule, paper(return_model, alpha), num_samples=16)
    budget = math.log(1 / alpha) * (schedule.num_steps - 1) / schedule.num_steps
    torch.testing.assert_close(imagined.path_kl, torch.full((16,), budget), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("residual_mlp", "ddpm"), ("residual_mlp", "few_step"), ("unet", "few_step"), ("causal_gru", "few_step")],
)
def test_papers_likelihood_ratio_is_log_normal_with_any_networks(kind: str, name: str):
    (denoiser, return_model), schedule = random_networks(kind), SCHEDULES[name]
    # So many that four standard errors of the variance are 10 %.
    log_ratio = imagine(denoiser, schedule, paper(return_model, 0.1), num_samples=3200).log_ratio
    budget, count = math.log(10) * (schedule.num_steps - 1) / schedule.num_steps, len(log_ratio)
    assert log_ratio.mean().item() == pytest.approx(budget, abs=4 * math.sqrt(2 * budget / count))
    assert log_ratio.var().item() == pytest.approx(2 * budget, rel=4 * math.sqrt(2 / count))
    # So half of the paths exceed the bound that the paper claims for all.
    assert (log_ratio > budget).float().mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / count))


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_likelihood_ratio_averages_to_1_over_unguided_paths(schedule: NoiseSchedule):
    denoiser, return_model = random_networks()
    log_ratio = imagine(denoiser, schedule, paper(return_model, 0.5), num_samples=4000).log_ratio
    # E_unguided[xi] = 1 means E_guided[1 / xi] = 1; its relative variance is exp(2 K) - 1.
    inverse = (-log_ratio).exp()
    assert inverse.mean().item() == pytest.approx(1.0, abs=4 * math.sqrt(3.0 / 4000))


@pytest.mark.parametrize(
    ("num_steps", "temperature", "tolerance"), [(16, 1.0, 0.01), (128, 1.0, 0.001), (16, 0.1, 0.01), (128, 0.1, 0.002)]
)
def test_noise_conditional_rule_is_the_exact_tilt_of_gaussian_trajectories(
    num_steps: int, temperature: float, tolerance: float
):
    oracle, schedule = GaussianOracle(), DDPM(length=num_steps, temperature=temperature).build()
    strength = GuidanceStrength(initial=1.755 / oracle.return_std)
    guidance = noise_conditional(oracle.expected_return, strength)
    guided, unguided = (oracle.features(oracle.sample(schedule, 8, rule)) for rule in (guidance, None))
    # The chain is linear, so with equal noise the shift is the same number on every path: -c S w. What is missing is
    # the last step, which is not guided, and what lies above the first noise level, which a low temperature bounds.
    expected = -1.755 / oracle.return_std * oracle.covariance @ oracle.slope
    torch.testing.assert_close(guided - unguided, expected.expand(8, -1), rtol=tolerance, atol=0.0)


@dataclass(frozen=True)
class Tilt:
    """Trajectories under a tilt whose strength is known, and what the closed forms say of them."""

    strength: float
    """Per standard deviation of the return, ``k``."""
    share_in_tail: float
    """P(Z <= VaR) = Phi(z + k) with the quantile z of the tail level 0.1."""
    share_above_bound: float
    """P(ln xi > K) = 1 - Phi((K - k^2 / 2) / k) with K = ln 10."""
    oracle: GaussianOracle
    imagined: ImaginedTrajectories

    @property
    def count(self) -> int:
        return len(self.imagined.rewards)

    @property
    def returns(self) -> Tensor:
        """Standardised returns, ``[B]``."""
        return (self.oracle.returns(self.imagined) - self.oracle.slope @ self.oracle.mean) / self.oracle.return_std


@pytest.fixture(
    scope="module",
    # The strengths at which the guided mean is the CVaR, phi(z) / 0.1, and the EVaR, sqrt(2 K).
    params=[(1.7550, 0.682, 0.332), (2.1460, 0.806, 0.5)],
    ids=["cvar", "evar"],
)
def tilt(request: pytest.FixtureRequest) -> Tilt:
    oracle = GaussianOracle()
    strength = GuidanceStrength(request.param[0] / oracle.return_std)
    guidance = noise_conditional(oracle.expected_return, strength)
    return Tilt(*request.param, oracle, oracle.sample(DDPM(length=128).build(), 4096, guidance))


def test_the_tilt_lowers_the_mean_by_its_strength(tilt: Tilt):
    assert tilt.returns.mean().item() == pytest.approx(-tilt.strength, abs=4 / math.sqrt(tilt.count))


def test_the_tilt_puts_its_share_into_the_tail(tilt: Tilt):
    in_tail, expected = (tilt.returns <= -1.2815516).float().mean().item(), tilt.share_in_tail
    assert in_tail == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / tilt.count))


def test_the_likelihood_ratio_of_the_tilt_is_log_normal(tilt: Tilt):
    # The closed forms are of trajectories. Paths through the noise add 4 % to the divergence at 128 steps, which is
    # less than four standard errors.
    log_ratio, variance, expected = tilt.imagined.log_ratio, tilt.strength**2, tilt.share_above_bound
    assert log_ratio.mean().item() == pytest.approx(variance / 2, abs=4 * math.sqrt(variance / tilt.count))
    assert log_ratio.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / tilt.count))
    above = (log_ratio > math.log(10)).float().mean().item()
    assert above == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / tilt.count))


@pytest.mark.parametrize("num_steps", [16, 128])
def test_noise_conditional_rule_keeps_the_covariance_of_gaussian_trajectories(num_steps: int):
    oracle, schedule = GaussianOracle(), DDPM(length=num_steps).build()
    guidance = noise_conditional(oracle.expected_return, GuidanceStrength(1.755 / oracle.return_std))
    sampled = oracle.features(oracle.sample(schedule, 4096, guidance)).T.cov()
    # Of the unguided chain, that is, whose variance is below that of the data: by 22 % with 16 steps, by 3 % with 128.
    _, covariance = oracle.chain_law(schedule)
    variances = covariance.diag()
    assert ((sampled - covariance).abs() < 4 * ((variances[:, None] * variances + covariance**2) / 4096).sqrt()).all()


def test_at_the_whole_budget_the_guided_mean_is_nearly_the_evar():
    oracle, schedule, budget = GaussianOracle(), DDPM(length=128).build(), math.log(10)

    def imagine_with(strength: float) -> ImaginedTrajectories:
        rule = noise_conditional(oracle.expected_return, GuidanceStrength(strength))
        return oracle.sample(schedule, 8, rule)

    # The divergence of a linear chain is the same on every path and grows with the square of the strength.
    strength = math.sqrt(budget / imagine_with(1.0).path_kl[0].item())
    guided, unguided = imagine_with(strength), oracle.sample(schedule, 8)
    torch.testing.assert_close(guided.path_kl, torch.full((8,), budget))
    fall = (oracle.returns(unguided) - oracle.returns(guided)) / oracle.return_std
    # No rule goes below mu - sigma sqrt(2 K); what is missing is what paths through the noise spend in vain.
    assert (fall < math.sqrt(2 * budget)).all()
    assert (fall > 0.98 * math.sqrt(2 * budget)).all()


def test_few_steps_tilt_gaussian_trajectories_in_the_exact_direction_and_efficiently():
    oracle, schedule = GaussianOracle(), FewStep(steps=8).build()
    guidance = noise_conditional(oracle.expected_return, GuidanceStrength(1.0 / oracle.return_std))
    guided, unguided = (oracle.sample(schedule, 8, rule) for rule in (guidance, None))
    shift = (oracle.features(guided) - oracle.features(unguided)).mean(0)
    exact = -oracle.covariance @ oracle.slope
    assert torch.cosine_similarity(shift, exact, dim=0) > 0.9999
    fall = -(shift @ oracle.slope).item() / oracle.return_std
    # The optimum is sqrt(2 KL) standard deviations.
    assert fall > 0.9 * math.sqrt(2 * guided.path_kl.mean().item())


def test_the_path_spends_at_least_the_divergence_of_the_tilt():
    oracle = GaussianOracle()
    guidance = noise_conditional(oracle.expected_return, GuidanceStrength(1.755 / oracle.return_std))
    path_kl = oracle.sample(DDPM(length=128).build(), 8, guidance).path_kl
    # Data processing: equality would need the exact reverse covariance, of which 128 steps come close.
    assert 1.0 <= path_kl.mean().item() / (0.5 * 1.755**2) < 1.1


def test_smaller_tail_levels_lower_the_return_further():
    oracle, schedule = GaussianOracle(), FewStep(steps=8).build()
    rules = [paper(oracle.expected_return, alpha) for alpha in (1.0, 0.5, 0.2, 0.05)]
    means = torch.stack([oracle.returns(oracle.sample(schedule, 64, rule)).mean() for rule in rules])
    assert (means.diff() < -0.1 * oracle.return_std).all()


def test_papers_rule_lowers_the_return_by_about_the_dossiers_figure():
    oracle, schedule = GaussianOracle(), DDPM(length=128).build()
    rules = paper(oracle.expected_return, 0.1), None
    guided, unguided = (oracle.returns(oracle.sample(schedule, 8, rule)) for rule in rules)
    shift = (guided - unguided).mean().item() / oracle.return_std
    # No tilt within the budget can do more than sqrt(2 K) standard deviations.
    assert -math.sqrt(2 * math.log(10)) < shift < -1.5


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 1.24e-4), (0.1, 4.45e-3)])
def test_released_rule_spends_almost_nothing_with_any_networks(temperature: float, expected: float):
    denoiser, return_model = random_networks()
    imagined = imagine(
        denoiser, DDPM(length=128, temperature=temperature).build(), released(return_model, 0.1), num_samples=16
    )
    torch.testing.assert_close(imagined.path_kl, torch.full((16,), expected), rtol=0.02, atol=0.0)


def test_released_rule_moves_the_return_by_less_than_a_twentieth():
    oracle, schedule = GaussianOracle(), DDPM(length=128).build()
    rules = released(oracle.expected_return, 0.1), None
    guided, unguided = (oracle.returns(oracle.sample(schedule, 8, rule)) for rule in rules)
    assert (guided - unguided).abs().max() < 0.05 * oracle.return_std


@pytest.mark.parametrize("index", [0, 60, 126])
def test_an_edit_of_the_estimate_is_a_shift_of_the_mean(index: int):
    schedule, (sample, x0, edit) = SCHEDULES["ddpm"], torch.randn(3, 2, 4, 3, dtype=torch.float64)
    edited, plain = (schedule.reverse_step(index, sample, estimate, None)[0] for estimate in (x0 + edit, x0))
    torch.testing.assert_close(edited - plain, mean_shift(edit, *schedule.sigmas[index : index + 2]))


@pytest.mark.parametrize("rule", [NoGuidance, PaperGuidance, ReleasedGuidance, NoiseConditional, WorstOfM])
def test_alpha_1_is_exactly_no_guidance(rule: type[GuidanceSettings]):
    settings, (_, return_model) = rule(alpha=1.0), random_networks()
    shift = settings.shift(return_model, GuidanceStrength())
    assert shift is None or (shift(make_step()) == 0.0).all()
    assert settings.draws == 1


@pytest.mark.parametrize("rule", RULES)
def test_only_observations_after_the_start_are_shifted(rule: str):
    _, return_model = random_networks()
    shift = RULES[rule](return_model)(make_step())
    assert (shift[:, 0] == 0.0).all()
    assert (shift[..., OBS_DIM:] == 0.0).all()
    assert (shift[:, 1:, :OBS_DIM] != 0.0).all()


@pytest.mark.parametrize("rule", RULES)
def test_the_shift_descends_the_predicted_return(rule: str):
    _, return_model = random_networks()
    step = make_step()
    shift = RULES[rule](return_model)(step)
    points = {"paper": step.mean, "released": step.x0 * math.sqrt(5.0), "noise_cond": step.sample}
    point, sigma = points[rule], 1.0 if rule == "paper" else 2.0
    gradient = return_gradient(return_model, point, step, sigma=sigma)
    cosine = (shift * gradient).sum((1, 2)) / shift.norm(dim=(1, 2)) / gradient.norm(dim=(1, 2))
    torch.testing.assert_close(cosine, -torch.ones(5))


def test_the_gradient_equals_finite_differences():
    return_model, step = random_networks()[1].double(), make_step(torch.float64)
    gradient = return_gradient(return_model, step.sample, step, sigma=2.0)
    numeric, width = torch.zeros_like(gradient), 1e-6

    def predict(sample: Tensor) -> Tensor:
        return return_model(sample[..., :OBS_DIM], step.actions, step.start, torch.full((5,), 2.0).double())

    for row in range(1, HORIZON):
        for feature in range(OBS_DIM):
            bump = torch.zeros_like(step.sample)
            bump[:, row, feature] = width
            numeric[:, row, feature] = (predict(step.sample + bump) - predict(step.sample - bump)).detach() / (
                2 * width
            )
    torch.testing.assert_close(gradient, numeric, atol=1e-8, rtol=1e-6)


def test_the_gradient_works_where_gradients_are_off_and_leaves_none_behind():
    _, return_model = random_networks()
    with torch.no_grad():
        gradient = return_gradient(return_model, make_step().sample, make_step(), sigma=2.0)
    assert not gradient.requires_grad
    assert all(parameter.grad is None for parameter in return_model.parameters())


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_directions_have_length_1_at_any_scale(scale: float):
    lengths = unit_direction(scale * torch.randn(5, 3, 2)).norm(dim=(1, 2))
    torch.testing.assert_close(lengths, torch.ones(5))


def test_worst_of_m_has_its_closed_form_law():
    returns = torch.randn(40_000, generator=torch.Generator().manual_seed(0))
    worst = returns[select_worst(returns, 10)]
    # The minimum of ten standard normal draws has mean -1.5388 and standard deviation 0.5868.
    assert worst.mean().item() == pytest.approx(-1.5388, abs=4 * 0.5868 / math.sqrt(4000))


def test_worst_of_m_stays_within_each_start():
    indices = select_worst(torch.rand(60), 5)
    assert torch.equal(indices // 5, torch.arange(12))


def test_worst_of_1_keeps_all():
    assert torch.equal(select_worst(torch.rand(7), 1), torch.arange(7))


@pytest.mark.parametrize("m", [0, 4])
def test_worst_of_m_needs_whole_groups(m: int):
    with pytest.raises(ValueError, match=f"`m` must be positive and divide the number of returns 6, got {m}"):
        select_worst(torch.rand(6), m)
