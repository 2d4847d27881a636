"""The world model of AD-RRL: trajectory models that are trained on a player's experience and imagine its future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rrl.algorithms.mixture import JudgedTrajectories, before_the_end
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.cvar import empirical_cvar
from rrl.diffusion import (
    GuidanceStrength,
    ImaginedTrajectories,
    NoiseConditional,
    RowwiseGRU,
    RowwiseSampler,
    TrajectoryModels,
    TrajectoryNormalizer,
    TrajectorySampler,
    TransitionGradient,
    select_worst,
    window_returns,
)
from rrl.diffusion.error_spread import ErrorSpread
from rrl.diffusion.guidance import ReturnFunction, StepShift, TransitionShift, transition_shift
from rrl.diffusion.guidance_rules import GradientGuidance
from rrl.diffusion.rowwise import RowwiseDenoiser
from rrl.distributed import all_reduce_mean
from rrl.policies import ActorCritic
from rrl.spaces import Spaces
from rrl.types import WindowBatch


class WorldModel(nn.Module):
    """Denoiser, return model, their moving averages, and the sampler that imagines with them.

    Args:
        spaces: Of the task, with the horizon of the windows.
        settings: Of models, sampling and guidance.
        gamma: Discount of the returns.
    """

    healthy_low: Tensor
    """Lower bounds of the observations of a running episode; empty where the end must be learnt. ``[O]`` or ``[0]``."""
    healthy_high: Tensor
    """Upper bounds of the observations of a running episode. Shape ``[O]`` or ``[0]``."""

    def __init__(self, spaces: Spaces, settings: WorldModelSettings, *, gamma: float) -> None:
        super().__init__()
        if spaces.horizon is None:
            raise ValueError("AD-RRL needs trajectory windows: use `data: TrajectoryDataModule`.")
        self.guidance, self.bootstrap, self.gamma = settings.guidance, settings.bootstrap, gamma
        self.register_buffer("healthy_low", torch.tensor(spaces.healthy_low or []))
        self.register_buffer("healthy_high", torch.tensor(spaces.healthy_high or []))
        sizes = (spaces.obs_dim, spaces.action_dim, spaces.horizon)
        self.models = TrajectoryModels(
            TrajectoryNormalizer(spaces.horizon, spaces.obs_dim, spaces.action_low, spaces.action_high),
            settings.solver.build(),
            settings.denoiser.build(*sizes, told=settings.guidance.told),
            settings.guidance.build_judge(*sizes, settings.return_model),
            ema_decay=settings.ema_decay,
        )
        self.error_spread = ErrorSpread() if isinstance(settings.guidance, TransitionGradient) else None
        self.strength = GuidanceStrength()
        self.policy_guidance = settings.policy_guidance.build()
        sampler = RowwiseSampler if isinstance(settings.denoiser, RowwiseGRU) else TrajectorySampler
        self.sampler: Any = sampler(self.models.schedule, self.models.normalizer)

    def fit(self, batches: Sequence[WindowBatch], player: ActorCritic, optimizer: Optimizer) -> dict[str, Tensor]:
        """Take one gradient step of both models on every batch.

        Args:
            batches: Windows of real experience.
            player: Whose values continue the returns.
            optimizer: Of the models' trained parameters.

        Returns:
            Mean training losses, to be logged.

        Raises:
            FloatingPointError: If a loss is not finite.
        """
        losses = torch.zeros(2, device=self.healthy_low.device)
        for windows in batches:
            losses += self.models.train_step(windows, self._return_targets(windows, player), optimizer)
        loss, return_loss = all_reduce_mean(losses / len(batches))
        if not torch.isfinite(loss + return_loss):
            raise FloatingPointError(f"the trajectory models diverged: losses {float(loss)} and {float(return_loss)}.")
        return {"diffusion/loss": loss, "diffusion/return_loss": return_loss}

    def evaluate(self, windows: WindowBatch, player: ActorCritic) -> dict[str, Tensor]:
        """Judge both models on fresh windows, that they have not been trained on.

        Returns:
            What :meth:`TrajectoryModels.heldout` tells, and the share of windows in which the episode terminates.
        """
        metrics = self.models.heldout(windows, self._return_targets(windows, player))
        if self.error_spread is not None:
            denoiser = cast(RowwiseDenoiser, self.models.denoiser_average)
            self.error_spread.judge(windows, denoiser, self.sampler, partial(self._value, player), gamma=self.gamma)
            metrics["error_spread"] = self.error_spread.value
        metrics["real_termination_rate"] = windows.terminated[:, :-1].any(dim=1).float().mean()
        return {f"diffusion/{key}": all_reduce_mean(value) for key, value in metrics.items()}

    def _return_targets(self, windows: WindowBatch, player: ActorCritic) -> Tensor:
        """Return what the return model learns: by how much a window beats the value of its start. Shape ``[B]``.

        Returns differ far more between start states than within one, and only the latter is what guidance can tilt;
        without the baseline, which has no gradient in later states, the network would spend itself on the former.
        """
        values = self._values(windows.observations, player)
        returns = window_returns(windows.rewards, windows.valid, windows.terminated, values, gamma=self.gamma)
        return returns - values[:, 0]

    def window_returns(self, windows: WindowBatch, player: ActorCritic) -> Tensor:
        """Return the discounted returns of real windows, continued by the player's values. Shape ``[B]``."""
        values = self._values(windows.observations, player)
        return window_returns(windows.rewards, windows.valid, windows.terminated, values, gamma=self.gamma)

    @torch.no_grad()
    def _values(self, observations: Tensor, player: ActorCritic) -> Tensor:
        """Value every row, by 0 without bootstrap. Shape ``[B, H]``."""
        return self._value(player, observations)

    @torch.no_grad()
    def imagine(
        self, starts: Tensor, player: ActorCritic, *, guided: bool, generator: torch.Generator | None = None
    ) -> JudgedTrajectories:
        """Imagine one trajectory of a player from each start state.

        Args:
            starts: Raw observations. Shape ``[B, O]``.
            player: Whose policy acts and whose values judge.
            guided: Whether to tilt the trajectories towards low returns.
            generator: Source of the noise for those who only look; the stream of the training where None.

        Returns:
            The trajectories, in raw units.
        """
        rule, generator = self.guidance, generator or self.models.generator()
        draws = rule.draws if guided else 1
        imagined = self.sampler.sample(
            self.models.denoiser_average,
            player.mean_and_std,
            starts.repeat_interleave(draws, dim=0),
            policy_guidance=self.policy_guidance,
            shift=self._shift(player) if guided else None,
            quantile=rule.quantiles(len(starts) * draws, guided=guided, generator=generator),
            generator=generator,
        )
        judged = self.judge(imagined, player)
        if not guided or isinstance(rule, GradientGuidance):
            return judged
        worst = judged.select(select_worst(judged.returns, draws))
        divergence = torch.full_like(worst.path_kl, rule.divergence)
        return replace(worst, path_kl=divergence, log_ratio=divergence)

    def _shift(self, player: ActorCritic) -> StepShift | TransitionShift | None:
        """Say how the guidance shifts what the sampler draws."""
        if self.error_spread is None:
            return self.guidance.shift(cast(ReturnFunction, self.models.judge_average), self.strength)
        budget, spread = self.guidance.divergence / (self.models.normalizer.horizon - 1), self.error_spread.value
        value = partial(self._value, player)
        return partial(transition_shift, value=value, gamma=self.gamma, budget=budget, spread=spread)

    def _value(self, player: ActorCritic, observations: Tensor) -> Tensor:
        """Value raw observations ``[B, O]``, by 0 without bootstrap; differentiable. Shape ``[B]``."""
        return player.value(observations) if self.bootstrap else torch.zeros_like(observations[..., 0])

    def judge(self, imagined: ImaginedTrajectories, player: ActorCritic) -> JudgedTrajectories:
        """Find where imagined trajectories end, by the task's own test or as learnt, and what they are worth."""
        terminated = imagined.ended > 0.0
        if self.healthy_low.numel() > 0:
            following = imagined.observations[:, 1:]
            terminated[:, :-1] = ((following < self.healthy_low) | (following > self.healthy_high)).any(dim=-1)
            terminated[:, -1] = False  # the last row has no successor
        values = self._values(imagined.observations, player)
        valid = before_the_end(terminated)
        returns = window_returns(imagined.rewards, valid, terminated, values, gamma=self.gamma)
        return JudgedTrajectories(
            **vars(imagined), terminated=terminated, returns=returns, gains=returns - values[:, 0]
        )

    def adapt_actions(self, judged: JudgedTrajectories) -> None:
        """Bring imagined actions closer to the policy's spread, where the rule for them can learn."""
        self.policy_guidance.adapt(all_reduce_mean(judged.action_spread))

    def adapt_guidance(self, guided: JudgedTrajectories, unguided: JudgedTrajectories) -> dict[str, Tensor]:
        """Bring the strength of the guidance, where it has one, closer to its target.

        Args:
            guided: Trajectories sampled with the present strength.
            unguided: Trajectories sampled without guidance, from other start states.

        Returns:
            The realised relative entropy, mean log-likelihood ratio and strength, to be logged.
        """
        path_kl, rule = all_reduce_mean(guided.path_kl.mean()), self.guidance
        metrics = {"guidance/path_kl": path_kl, "guidance/log_ratio": all_reduce_mean(guided.log_ratio.mean())}
        if not isinstance(rule, NoiseConditional):
            return metrics
        if rule.target == "kl":
            self.strength.update_to_kl(path_kl, rule.alpha)
        else:
            nominal, tilted = (self.models.gain_scale.standardize(part.gains) for part in (unguided, guided))
            self.strength.update_to_cvar(
                all_reduce_mean(tilted.mean()),
                all_reduce_mean(empirical_cvar(nominal, rule.alpha)),
                all_reduce_mean(nominal.std()),
                rule.alpha,
            )
        return {**metrics, "guidance/strength": self.strength.value}
