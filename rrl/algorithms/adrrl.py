"""AD-RRL: a policy that learns from imagined trajectories which a diffusion model tilts towards the worst returns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from rrl.a2c import a2c_step
from rrl.algorithms.advantage_batch import AdvantageBatch
from rrl.algorithms.base import RLModule
from rrl.algorithms.mixture import mix_real_and_imagined
from rrl.algorithms.world_model import (
    DenoiserName,
    GuidanceRule,
    PolicyGuidanceRule,
    Solver,
    StrengthTarget,
    WorldModel,
    require_known,
)
from rrl.cvar import empirical_cvar
from rrl.diffusion import ImaginedTrajectories
from rrl.policies import ActorCritic, Learner
from rrl.random_streams import Purpose, torch_stream
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion, TrustRegionStep
from rrl.types import DynaBatch, RolloutBatch

PolicyRule = Literal["trpo", "a2c"]
NOT_SETTINGS = {"self", "__class__", "spaces", "learner", "policy_update"}


class ADRRL(RLModule):
    """Adversarial diffusion for robust reinforcement learning: the Dyna loop of the paper's Algorithm 1.

    Each training step collects nothing itself: it receives a fresh rollout, trains the denoiser and the return model on
    windows of all experience, imagines trajectories from real start states, tilted towards the worst ``alpha`` tail of
    returns, and improves policy and value function on a mixture of real, nominal imagined and guided imagined data.

    Logs what :class:`~rrl.algorithms.base.RLModule` logs, and

    - ``diffusion/loss``, ``diffusion/return_loss``: training losses of denoiser and return model;
    - ``diffusion/heldout_loss``, ``diffusion/return_correlation``: the denoiser's loss, and the correlation of the
      return model's predictions with the realised returns, on the fresh rollout before it is trained on;
    - ``diffusion/imagined_return_mean``, ``diffusion/imagined_return_cvar``: predicted returns of the imagined windows;
    - ``diffusion/imagined_termination_rate``, ``diffusion/real_termination_rate``: windows in which an episode ends;
    - ``diffusion/action_spread``: standard deviation of standardised imagined actions; 1 is on-policy;
    - ``diffusion/used_fraction``: imagined transitions before an imagined end that stayed on-policy;
    - ``guidance/path_kl``, ``guidance/log_ratio``: the realised relative entropy of the guided paths in nats, and the
      mean of their log-likelihood ratios; under ``worst_of_m`` both are its closed form;
    - ``guidance/strength``: the strength that ``noise_cond`` has adapted.

    Args:
        spaces: Of the task, with the horizon; from the data.
        learner: Networks, critic and horizon of the player; lambda ``0.9`` in the paper.
        policy_update: The trust region. Its entropy weight is ``1e-5`` in the paper. A window is so short that it shows
            what exploration costs and not what it finds, so that a policy can narrow before it has learnt to walk. Too
            much widens it without end, as on Walker2d with 0.03: what lies beyond the action box costs nothing.
        denoiser: ``unet`` is the temporal U-Net of diffusers, ``residual_mlp`` the paper's network.
        channels: Channels of each level of the U-Net.
        hidden_dim: Width of the residual MLPs, denoiser and return model; ``1024`` in the paper.
        num_layers: Layers of the residual MLPs; ``6`` in the paper.
        solver: ``few_step`` is a second-order stochastic solver, ``ddpm`` the paper's chain.
        diffusion_steps: Steps of the solver; ``128`` in the paper.
        schedule_temperature: Temperature of the cosine schedule of ``ddpm``; ``1.0`` or ``0.1`` in the paper.
        guidance: ``none`` is PolyGRAD; ``paper`` and ``released`` are the rules of the paper and of its published code;
            ``noise_cond`` follows the raw gradient of the return model; ``worst_of_m`` keeps the worst of ``1 / alpha``
            unguided draws, which costs as many times the imagination and is the only rule that found clearly harder
            worlds under mild disturbances, on Hopper and on Walker2d.
        alpha: Fraction of the returns that forms the tail, in ``(0, 1]``; ``0.1`` in the published code.
        strength_target: What the strength of ``noise_cond``, and of no other rule, is adapted to: the path's relative
            entropy ``ln(1/alpha)`` (``kl``), or a mean guided return equal to the CVaR of the unguided ones (``cvar``).
        policy_guidance: ``reparameterized`` moves imagined actions towards the policy under fixed noise, ``score`` is
            the rule of PolyGRAD and the paper.
        damping: Part of the way that ``reparameterized`` goes in one step, in ``(0, 1]``.
        bootstrap: Continue the return of a window by the value of its last state, and let the return model predict by
            how much it beats the value of its first. False in the paper.
        real_fraction: Share of the real rollout in the policy update; ``0`` in the paper, where the policy stays as it
            is before the warm-up.
        value_from_imagination: Fit the value function on the mixture; on the real rollout alone otherwise. True in the
            paper. Imagined targets are mostly the value function's own predictions, and its errors feed on them.
        guided_fraction: Share of guided trajectories among the imagined; ``1`` in the paper.
        imagination_warmup: Real environment steps before imagined data are used at all.
        guidance_warmup: Real environment steps before trajectories are guided.
        policy_rule: ``trpo``, or ``a2c``, the paper's: one controlled step of AdamW, see :func:`~rrl.a2c.a2c_step`.
        policy_learning_rate: Largest step size of ``a2c``; ``3e-5`` in the paper.
        log_prob_change: Bound of ``a2c`` on the mean change of the log probabilities of the actions, in nats; ``0.01``
            in the published code.
        model_learning_rate: Adam's step size for denoiser and return model; ``3e-4`` in the paper.
        ema_decay: Decay of the moving averages of both models, which imagine; ``0.99`` every 10 steps in the paper.

    Differences from the paper: by default the policy improves by TRPO instead of A2C with a controlled step size; the
    mixture, the warm-up, the bootstrapped return and the solver are ours; see each argument for the paper's value, and
    ``conf/adrrl_*_paper.yaml`` for all of them together. Whatever is configured, the denoiser estimates clean
    trajectories instead of their noise, as the published code does; windows hold differences from their start state,
    end flags are not standardised, nothing behind an episode's end is learnt, and imagined transitions that left the
    policy do not count. The value function has standardised targets and no slowly moving copy, where the published
    code fits raw ones to an average of its past.

    References:
        Foffano, Russo and Proutiere, "Adversarial diffusion for robust reinforcement learning", NeurIPS 2025.
        Rigter, Yamada and Posner, "World models via policy-guided trajectory diffusion", TMLR 2024.
    """

    def __init__(
        self,
        spaces: Spaces,
        *,
        learner: Learner = Learner(),
        policy_update: TrustRegion = TrustRegion(),
        denoiser: DenoiserName = "unet",
        channels: Sequence[int] = (16, 32),
        hidden_dim: int = 256,
        num_layers: int = 3,
        solver: Solver = "few_step",
        diffusion_steps: int = 8,
        schedule_temperature: float = 1.0,
        guidance: GuidanceRule = "worst_of_m",
        alpha: float = 0.1,
        strength_target: StrengthTarget = "kl",
        policy_guidance: PolicyGuidanceRule = "reparameterized",
        damping: float = 0.5,
        bootstrap: bool = True,
        real_fraction: float = 0.5,
        value_from_imagination: bool = False,
        guided_fraction: float = 0.5,
        imagination_warmup: int = 5_000,
        guidance_warmup: int = 10_000,
        policy_rule: PolicyRule = "trpo",
        policy_learning_rate: float = 3e-5,
        log_prob_change: float = 0.01,
        model_learning_rate: float = 1e-3,
        ema_decay: float = 0.995,
    ) -> None:
        super().__init__(spaces, learner=learner, policy_update=policy_update)
        self.remember(**{name: value for name, value in locals().items() if name not in NOT_SETTINGS})
        for name, value in {"real_fraction": real_fraction, "guided_fraction": guided_fraction}.items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"`{name}` must lie in [0, 1], got {value}.")
        if real_fraction == 0.0 and not value_from_imagination:
            raise ValueError("`value_from_imagination` must be true where `real_fraction` is 0, got false.")
        if strength_target == "cvar" and guided_fraction == 1.0:
            raise ValueError("`guided_fraction` must be below 1 where `strength_target` is 'cvar', got 1.0.")
        require_known("policy_rule", policy_rule, PolicyRule)
        for name, value in {"policy_learning_rate": policy_learning_rate, "log_prob_change": log_prob_change}.items():
            if value <= 0.0:
                raise ValueError(f"`{name}` must be positive, got {value}.")
        self.alpha = alpha
        self.real_fraction, self.guided_fraction = real_fraction, guided_fraction
        self.value_from_imagination = value_from_imagination
        self.imagination_warmup, self.guidance_warmup = imagination_warmup, guidance_warmup
        self.policy_rule, self.policy_learning_rate = policy_rule, policy_learning_rate
        self.a2c_step = partial(a2c_step, entropy_weight=policy_update.entropy_weight, log_prob_change=log_prob_change)
        self.model_learning_rate = model_learning_rate
        self._starts: Tensor | None = None
        self.world_model = WorldModel(
            spaces,
            denoiser=denoiser,
            channels=channels,
            hidden_dim=hidden_dim,
            num_layers=num_layers,
            solver=solver,
            diffusion_steps=diffusion_steps,
            schedule_temperature=schedule_temperature,
            guidance=guidance,
            alpha=alpha,
            strength_target=strength_target,
            policy_guidance=policy_guidance,
            damping=damping,
            bootstrap=bootstrap,
            ema_decay=ema_decay,
            gamma=learner.gamma,
        )

    def training_step(self, batch: DynaBatch, batch_idx: int) -> None:
        """Perform one pass of Algorithm 1 on fresh experience: fit the models, imagine, improve the policy."""
        self._starts = batch.start_observations[-1]
        self.count_steps(batch.rollout)
        with self.timed("diffusion"):
            self.log_metrics(self.world_model.evaluate(batch.fresh_windows, self.protagonist))
            self._fit_models(batch)
        self._improve(batch)
        self.protagonist.normalizer.update(batch.rollout.transitions.observations)
        self.log_rollout(batch.rollout.episodes)
        self.end_iteration(batch.rollout.transitions.rewards.numel() * self.trainer.world_size)

    def _fit_models(self, batch: DynaBatch) -> None:
        """Train denoiser and return model on windows of all experience (Algorithm 3)."""
        optimizer = self.bare_optimizer(2)
        self.log_metrics(self.world_model.fit(batch.windows.unbind(), self.protagonist, optimizer))

    def _improve(self, batch: DynaBatch) -> None:
        """Improve policy and value function on real and imagined data, as often as there are start states for."""
        real = batch.rollout.transitions
        if int(self.env_steps) < self.imagination_warmup:
            if self.real_fraction > 0.0:
                self._update([real])
            return
        for starts in batch.start_observations:
            with self.timed("imagine"):
                sources = mix_real_and_imagined(real, self._imagine_mixture(starts), self.real_fraction)
            self._update(sources)

    def _update(self, sources: list[RolloutBatch]) -> None:
        """Update the protagonist on transitions of several sources, of which the first are the real ones."""
        with self.timed("update"):
            prepared = self.advantage_batch(self.protagonist, sources)
            real_only = prepared.first(sources[0].weights.numel())
            self.update_player(
                "protagonist",
                self.protagonist,
                prepared,
                self.player_step_optimizers(),
                value_batch=prepared if self.value_from_imagination else real_only,
            )

    def _imagine_mixture(self, starts: Tensor) -> list[RolloutBatch]:
        """Imagine nominal and guided trajectories in the configured proportion and log both."""
        guided_fraction = self.guided_fraction if int(self.env_steps) >= self.guidance_warmup else 0.0
        num_guided = round(guided_fraction * len(starts))
        parts: list[ImaginedTrajectories] = []
        if num_guided < len(starts):
            parts.append(self.imagine(starts[num_guided:], guided=False))
            self.world_model.adapt_actions(parts[0])
        if num_guided > 0:
            guided = self.imagine(starts[:num_guided], guided=True)
            parts.append(guided)
            self.world_model.adapt_actions(guided)
            self.log_metrics(self.world_model.adapt_guidance(guided, parts[0], self.protagonist))
        returns = torch.cat([self.world_model.predicted_returns(part, self.protagonist) for part in parts])
        rollouts = [self.world_model.as_rollout(part, self.protagonist) for part in parts]
        ended = torch.cat([rollout.terminated.any(dim=0) for rollout in rollouts])
        self.log_metrics({
            "diffusion/imagined_return_mean": returns.mean(),
            "diffusion/imagined_return_cvar": empirical_cvar(returns, self.alpha),
            "diffusion/imagined_termination_rate": ended.float().mean(),
            "diffusion/action_spread": parts[0].action_spread,
            "diffusion/used_fraction": torch.cat([rollout.weights.flatten() for rollout in rollouts]).mean(),
        })
        return rollouts

    def imagine(
        self, starts: Tensor, *, guided: bool, generator: torch.Generator | None = None
    ) -> ImaginedTrajectories:
        """Imagine one trajectory of the current policy from each start state.

        Args:
            starts: Raw observations. Shape ``[B, O]``.
            guided: Whether to tilt the trajectories towards low returns.
            generator: Source of the noise for those who only look; the stream of the training where None.

        Returns:
            The trajectories, in raw units.
        """
        return self.world_model.imagine(starts, self.protagonist, guided=guided, generator=generator)

    def imagined_returns(self) -> tuple[Tensor, Tensor] | None:
        """Imagine from the newest start states with and without guidance, for the figure at the end of a run.

        Returns:
            Predicted returns of guided and of unguided trajectories, each of shape ``[B]``; None before any iteration.
        """
        if self._starts is None:
            return None
        stream = torch_stream(Purpose.FIGURE, int(self.env_steps), device=self.device)
        guided, unguided = (
            self.world_model.predicted_returns(
                self.imagine(self._starts, guided=kind, generator=stream), self.protagonist
            )
            for kind in (True, False)
        )
        return guided, unguided

    def improve_policy(
        self, player: ActorCritic, batch: AdvantageBatch, optimizer: LightningOptimizer
    ) -> TrustRegionStep:
        """Take one step of the configured kind, TRPO's or A2C's.

        Args:
            player: Its policy changes in place.
            batch: What ``advantage_batch`` returned for this player.
            optimizer: Of the policy.

        Returns:
            What the step did.
        """
        if self.policy_rule == "trpo":
            return super().improve_policy(player, batch, optimizer)
        return self.a2c_step(player.policy, *batch.policy_samples, optimizer=optimizer)

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimisers of the policy, its value function, and the trajectory models."""
        policy, value = self.player_optimizers(self.protagonist)
        if self.policy_rule == "a2c":
            policy = AdamW(self.protagonist.policy.parameters(), lr=self.policy_learning_rate, fused=True)
        return [policy, value, Adam(self.world_model.trained_parameters(), lr=self.model_learning_rate, fused=True)]
