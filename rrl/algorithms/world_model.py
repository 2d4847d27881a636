"""The trajectory models of AD-RRL as one module: train them, imagine with them, judge them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rrl.cvar import empirical_cvar
from rrl.diffusion import (
    CausalDenoiser,
    CausalGRUDenoiser,
    GuidanceStrength,
    ImaginedTrajectories,
    NoiseConditionalGuidance,
    PaperGuidance,
    ReleasedGuidance,
    ReparameterizedGuidance,
    ResidualMLPDenoiser,
    ReturnModel,
    ScoreGuidance,
    TemporalUNet,
    TrainableDenoiser,
    TrajectoryNormalizer,
    TrajectorySampler,
    add_noise,
    ddpm_schedule,
    ema_update,
    few_step_schedule,
    kl_budget,
    select_worst,
    window_returns,
)
from rrl.diffusion.guidance import Guidance
from rrl.diffusion.path_divergence import worst_of_m_divergence
from rrl.distributed import all_reduce_mean, all_reduce_sum, average_gradients
from rrl.policies import ActorCritic
from rrl.spaces import Spaces
from rrl.types import RolloutBatch, WindowBatch

DenoiserName = Literal["unet", "residual_mlp", "causal_gru"]
Solver = Literal["few_step", "ddpm"]
GuidanceRule = Literal["none", "paper", "released", "noise_cond", "worst_of_m"]
StrengthTarget = Literal["kl", "cvar"]
PolicyGuidanceRule = Literal["reparameterized", "score"]

MAX_ACTION_DISTANCE = 3.0
"""A Gaussian policy's own actions lie farther (root mean square) once in 400 in one dimension, in 250,000 in three."""


class WorldModel(nn.Module):
    """Denoiser, return model, their moving averages, and the sampler that imagines with them.

    The arguments are those of :class:`~rrl.algorithms.adrrl.ADRRL`, which documents them.
    """

    healthy_low: Tensor
    """Lower bounds of the observations of a running episode; empty where the end must be learnt. ``[O]`` or ``[0]``."""
    healthy_high: Tensor
    """Upper bounds of the observations of a running episode. Shape ``[O]`` or ``[0]``."""

    def __init__(
        self,
        spaces: Spaces,
        *,
        denoiser: DenoiserName,
        channels: Sequence[int],
        hidden_dim: int,
        num_layers: int,
        solver: Solver,
        diffusion_steps: int,
        schedule_temperature: float,
        guidance: GuidanceRule,
        alpha: float,
        strength_target: StrengthTarget,
        policy_guidance: PolicyGuidanceRule,
        damping: float,
        bootstrap: bool,
        ema_decay: float,
        gamma: float,
    ) -> None:
        super().__init__()
        kl_budget(alpha)  # refuses a tail level outside (0, 1]
        require_known("denoiser", denoiser, DenoiserName)
        require_known("solver", solver, Solver)
        require_known("guidance", guidance, GuidanceRule)
        require_known("strength_target", strength_target, StrengthTarget)
        require_known("policy_guidance", policy_guidance, PolicyGuidanceRule)
        if strength_target != "kl" and guidance != "noise_cond":
            raise ValueError(f"`strength_target: {strength_target}` needs `guidance: noise_cond`, got {guidance}.")
        if not 0.0 <= ema_decay < 1.0:
            raise ValueError(f"`ema_decay` must lie in [0, 1), got {ema_decay}.")
        self.guidance, self.alpha, self.strength_target = guidance, alpha, strength_target
        self.bootstrap, self.ema_decay, self.gamma = bootstrap, ema_decay, gamma
        if spaces.horizon is None:
            raise ValueError("AD-RRL needs trajectory windows: use `data: TrajectoryDataModule`.")
        obs_dim, action_dim, horizon = spaces.obs_dim, spaces.action_dim, spaces.horizon
        self.register_buffer("healthy_low", torch.tensor(spaces.healthy_low or []))
        self.register_buffer("healthy_high", torch.tensor(spaces.healthy_high or []))
        self.normalizer = TrajectoryNormalizer(horizon, obs_dim, spaces.action_low, spaces.action_high)
        self.denoiser: TrainableDenoiser
        if denoiser == "unet":
            network = TemporalUNet(obs_dim, action_dim + 1, horizon, channels)
            self.denoiser = CausalDenoiser(network, obs_dim=obs_dim, horizon=horizon)
        elif denoiser == "causal_gru":
            self.denoiser = CausalGRUDenoiser(obs_dim, action_dim, horizon, hidden_dim // 2)
        else:
            self.denoiser = ResidualMLPDenoiser(obs_dim, action_dim, horizon, hidden_dim, num_layers)
        self.return_model = ReturnModel(obs_dim, action_dim, horizon, hidden_dim, num_layers)
        # What imagines is a moving average of what is trained.
        self.denoiser_average = copy.deepcopy(self.denoiser).requires_grad_(False)
        self.return_average = copy.deepcopy(self.return_model).requires_grad_(False)
        self.strength = GuidanceStrength()
        self.policy_guidance = (
            ReparameterizedGuidance(damping) if policy_guidance == "reparameterized" else ScoreGuidance()
        )
        self.schedule = (
            few_step_schedule(diffusion_steps)
            if solver == "few_step"
            else ddpm_schedule(diffusion_steps, schedule_temperature)
        )
        self.sampler = TrajectorySampler(self.schedule, self.normalizer)

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of denoiser and return model, without their averages."""
        return [*self.denoiser.parameters(), *self.return_model.parameters()]

    def fit(self, batches: Sequence[WindowBatch], player: ActorCritic, optimizer: Optimizer) -> dict[str, Tensor]:
        """Take one gradient step of both models on every batch.

        Args:
            batches: Windows of real experience.
            player: Whose values continue the returns.
            optimizer: Over :meth:`trained_parameters`.

        Returns:
            Mean training losses, to be logged.

        Raises:
            FloatingPointError: If a loss is not finite.
        """
        losses = torch.zeros(2, device=self.healthy_low.device)
        for windows in batches:
            self.normalizer.update_from(all_reduce_sum(self.normalizer.statistics(windows)))
            targets = self._return_targets(windows, player)
            self.return_model.update_from(all_reduce_sum(self.return_model.statistics(targets)))
            loss, return_loss = self._losses(self.denoiser, self.return_model, windows, targets)
            optimizer.zero_grad()
            (loss + return_loss).backward()
            average_gradients(self.trained_parameters())
            optimizer.step()
            ema_update(self.denoiser_average, self.denoiser, self.ema_decay)
            ema_update(self.return_average, self.return_model, self.ema_decay)
            losses += torch.stack([loss.detach(), return_loss.detach()])
        loss, return_loss = all_reduce_mean(losses / len(batches))
        if not torch.isfinite(loss + return_loss):
            raise FloatingPointError(f"the trajectory models diverged: losses {float(loss)} and {float(return_loss)}.")
        return {"diffusion/loss": loss, "diffusion/return_loss": return_loss}

    def _losses(
        self, denoiser: TrainableDenoiser, return_model: ReturnModel, windows: WindowBatch, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Denoise windows at random noise levels and predict their returns from the same noisy states."""
        x0, mask = self.normalizer.encode(windows), self.normalizer.mask(windows)
        start = self.normalizer.encode_start(windows.observations[:, 0])
        actions = self.normalizer.encode_actions(windows.actions)
        sigma = self.schedule.sample_sigmas(len(x0), self._generator())
        noisy = add_noise(x0, sigma, torch.randn_like(x0), obs_dim=start.shape[-1])
        loss = denoiser.training_loss(noisy, actions, start, sigma, x0=x0, weights=mask)
        predicted = return_model(noisy[..., : start.shape[-1]], actions, start, sigma)
        return loss, (predicted - return_model.standardize(targets)).square().mean()

    @torch.no_grad()
    def evaluate(self, windows: WindowBatch, player: ActorCritic) -> dict[str, Tensor]:
        """Judge both models on windows that they have not been trained on.

        Args:
            windows: Fresh windows.
            player: Whose values continue the returns.

        Returns:
            Held-out loss of the denoiser, correlation of predicted and realised returns at the lowest noise, and the
            share of windows in which the episode terminates.
        """
        targets = self._return_targets(windows, player)
        loss, _ = self._losses(self.denoiser_average, self.return_average, windows, targets)
        start = self.normalizer.encode_start(windows.observations[:, 0])
        observations = self.normalizer.encode(windows)[..., : start.shape[-1]]
        lowest = observations.new_full((len(observations),), self.schedule.sigmas[-2])
        predicted = self.return_average(observations, self.normalizer.encode_actions(windows.actions), start, lowest)
        return {
            "diffusion/heldout_loss": all_reduce_mean(loss),
            "diffusion/return_correlation": all_reduce_mean(_correlation(predicted, targets)),
            "diffusion/real_termination_rate": all_reduce_mean(windows.terminated[:, :-1].any(dim=1).float().mean()),
        }

    @torch.no_grad()
    def _return_targets(self, windows: WindowBatch, player: ActorCritic) -> Tensor:
        """Return what the return model learns: by how much a window beats the value of its start. Shape ``[B]``.

        Returns differ far more between start states than within one, and only the latter is what guidance can tilt;
        without the baseline, which has no gradient in later states, the network would spend itself on the former.
        """
        returns = self.window_returns(windows, player)
        return returns - player.value(windows.observations[:, 0]) if self.bootstrap else returns

    @torch.no_grad()
    def window_returns(self, windows: WindowBatch, player: ActorCritic) -> Tensor:
        """Return the discounted returns of real windows, continued by the player's values. Shape ``[B]``."""
        values = player.value(windows.observations) if self.bootstrap else torch.zeros_like(windows.rewards)
        return window_returns(windows.rewards, windows.valid, windows.terminated, values, gamma=self.gamma)

    @torch.no_grad()
    def imagine(
        self, starts: Tensor, player: ActorCritic, *, guided: bool, generator: torch.Generator | None = None
    ) -> ImaginedTrajectories:
        """Imagine one trajectory of a player from each start state.

        Args:
            starts: Raw observations. Shape ``[B, O]``.
            player: Whose policy acts.
            guided: Whether to tilt the trajectories towards low returns.
            generator: Source of the noise for those who only look; the stream of the training where None.

        Returns:
            The trajectories, in raw units.
        """
        generator = generator or self._generator()
        if guided and self.guidance == "worst_of_m":
            return self._worst_of_m(starts, player, generator)
        return self._sample(starts, player, self._guidance() if guided else None, generator)

    def _sample(
        self, starts: Tensor, player: ActorCritic, guidance: Guidance | None, generator: torch.Generator
    ) -> ImaginedTrajectories:
        return self.sampler.sample(
            self.denoiser_average,
            player.mean_and_std,
            starts,
            policy_guidance=self.policy_guidance,
            guidance=guidance,
            generator=generator,
        )

    def adapt_actions(self, trajectories: ImaginedTrajectories) -> None:
        """Bring imagined actions closer to the policy's spread, where the rule for them can learn."""
        self.policy_guidance.adapt(all_reduce_mean(trajectories.action_spread))

    def _worst_of_m(self, starts: Tensor, player: ActorCritic, generator: torch.Generator) -> ImaginedTrajectories:
        """Keep the worst of ``1 / alpha`` unguided draws from each start state."""
        draws = round(1.0 / self.alpha)
        trajectories = self._sample(starts.repeat_interleave(draws, dim=0), player, None, generator)
        worst = select_worst(self.predicted_returns(trajectories, player), draws)
        picked = ImaginedTrajectories(*(column[worst] if column.ndim > 0 else column for column in trajectories))
        divergence = torch.full_like(picked.path_kl, worst_of_m_divergence(draws))
        return picked._replace(path_kl=divergence, log_ratio=divergence)

    def _guidance(self) -> Guidance | None:
        if self.guidance == "paper":
            return PaperGuidance(self.return_average, self.alpha)
        if self.guidance == "released":
            return ReleasedGuidance(self.return_average, self.alpha)
        if self.guidance == "noise_cond":
            return NoiseConditionalGuidance(self.return_average, self.alpha, self.strength)
        return None

    def adapt_guidance(
        self, guided: ImaginedTrajectories, unguided: ImaginedTrajectories, player: ActorCritic
    ) -> dict[str, Tensor]:
        """Bring the strength of the guidance closer to its target.

        Args:
            guided: Trajectories sampled with the present strength.
            unguided: Trajectories sampled without guidance, from other start states.
            player: Whose values continue the returns.

        Returns:
            The realised relative entropy, mean log-likelihood ratio and strength, to be logged.
        """
        path_kl = all_reduce_mean(guided.path_kl.mean())
        metrics = {"guidance/path_kl": path_kl, "guidance/log_ratio": all_reduce_mean(guided.log_ratio.mean())}
        if self.guidance != "noise_cond":
            return metrics  # no other rule has a strength to adapt
        if self.strength_target == "kl":
            self.strength.update_to_kl(path_kl, self.alpha)
        else:
            nominal, tilted = (self._standardized_gains(part, player) for part in (unguided, guided))
            self.strength.update_to_cvar(
                all_reduce_mean(tilted.mean()),
                all_reduce_mean(empirical_cvar(nominal, self.alpha)),
                all_reduce_mean(nominal.std()),
                self.alpha,
            )
        return {**metrics, "guidance/strength": self.strength.value}

    @torch.no_grad()
    def _standardized_gains(self, trajectories: ImaginedTrajectories, player: ActorCritic) -> Tensor:
        """Return predicted returns in the units of the return model, start states taken out. Shape ``[B]``."""
        returns = self.predicted_returns(trajectories, player)
        if self.bootstrap:
            returns = returns - player.value(trajectories.observations[:, 0])
        return self.return_average.standardize(returns)

    @torch.no_grad()
    def predicted_returns(self, trajectories: ImaginedTrajectories, player: ActorCritic) -> Tensor:
        """Return the discounted returns of imagined trajectories, by the same rule as for real ones. Shape ``[B]``."""
        terminated = self._terminated(trajectories)
        valid = _before_the_end(terminated)
        values = player.value(trajectories.observations) if self.bootstrap else torch.zeros_like(trajectories.rewards)
        return window_returns(trajectories.rewards, valid, terminated, values, gamma=self.gamma)

    @torch.no_grad()
    def as_rollout(self, trajectories: ImaginedTrajectories, player: ActorCritic) -> RolloutBatch:
        """Deliver imagined trajectories in the container of real ones.

        States and actions are sampled together, and where the policy is steep the actions may end far from what the
        policy would do in the final states. From the first such action on a trajectory says nothing about the policy.

        Args:
            trajectories: ``H`` rows of which the first ``H - 1`` are complete transitions.
            player: Whose policy the actions shall follow.

        Returns:
            A rollout of ``T = H - 1`` steps; what follows an imagined end has weight 0. So has everything from the
            first action on whose root mean square distance from the policy's mean exceeds ``MAX_ACTION_DISTANCE``
            standard deviations; the trajectory counts as cut off before it.
        """
        terminated = self._terminated(trajectories)
        mean, std = player.mean_and_std(trajectories.observations)
        distance = ((trajectories.actions - mean) / std).square().mean(dim=-1).sqrt()
        on_policy = (distance > MAX_ACTION_DISTANCE).cumsum(dim=1) == 0
        weights = (_before_the_end(terminated) & on_policy).to(trajectories.rewards)
        # Without the cut, advantages of earlier actions would count what the off-policy one led to.
        cut = (on_policy & ~on_policy.roll(-1, dims=1))[:, :-1] & ~terminated[:, :-1]
        observations = trajectories.observations.transpose(0, 1)
        columns = (trajectories.actions, trajectories.rewards, terminated, weights)
        actions, rewards, ended, weight = (column[:, :-1].transpose(0, 1) for column in columns)
        return RolloutBatch(
            observations=observations[:-1],
            actions=actions,
            rewards=rewards,
            terminated=ended,
            truncated=cut.transpose(0, 1),
            next_observations=observations[1:],
            weights=weight,
            value_weights=weight,
        )

    def _terminated(self, trajectories: ImaginedTrajectories) -> Tensor:
        """Mark the transitions that end an imagined episode: by the task's own test, or as learnt. Shape ``[B, H]``."""
        if self.healthy_low.numel() == 0:
            return trajectories.ended > 0.0
        following = trajectories.observations[:, 1:]
        unhealthy = ((following < self.healthy_low) | (following > self.healthy_high)).any(dim=-1)
        # The last row has no successor.
        return torch.cat([unhealthy, torch.zeros_like(unhealthy[:, :1])], dim=1)

    def _generator(self) -> torch.Generator:
        """Return the framework's own generator, which Lightning seeds and checkpoints restore."""
        device = self.healthy_low.device
        if device.type == "cpu":
            return torch.default_generator
        generator: torch.Generator = torch.get_device_module(device).default_generators[device.index]
        return generator


def require_known(name: str, value: str, choices: Any) -> None:
    """Refuse what is not among the literals of a type.

    Args:
        name: Of the argument.
        value: Its value.
        choices: A ``Literal``.

    Raises:
        ValueError: If ``value`` is none of them.
    """
    if value not in get_args(choices):
        raise ValueError(f"`{name}` must be one of {list(get_args(choices))}, got {value!r}.")


def _before_the_end(terminated: Tensor) -> Tensor:
    """Mark transitions up to and including the first that terminates. Shape ``[B, H]``."""
    valid = torch.ones_like(terminated)
    valid[:, 1:] = terminated[:, :-1].cumsum(dim=1) == 0
    return valid


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Give Pearson's correlation; 0 where one of both is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = first.norm() * second.norm()
    return torch.where(scale > 0.0, (first * second).sum() / scale.clamp(min=1e-12), 0.0)
