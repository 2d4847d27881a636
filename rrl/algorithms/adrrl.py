"""AD-RRL: a policy that learns from imagined trajectories which a diffusion model tilts towards the worst returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from rrl.a2c import A2C
from rrl.algorithms.base import RLModule
from rrl.algorithms.mixture import Imagination, JudgedTrajectories, as_rollout, mix_real_and_imagined
from rrl.algorithms.model_trust import ModelTrust
from rrl.algorithms.world_model import WorldModel
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.cvar import empirical_cvar
from rrl.diffusion import NoiseConditional
from rrl.distributed import all_reduce_sum
from rrl.policies import Learner
from rrl.random_streams import Purpose, torch_stream
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion
from rrl.types import DynaBatch, Rollout, RolloutBatch


@runtime_checkable
class JudgesImagination(Protocol):
    """A callback that compares what an algorithm imagines with what happens, and tells it the outcome."""

    def diagnose(self, data: Any, module: Any) -> dict[str, float]:
        """Compare with the worlds of a DataModule; return metrics by log key."""
        ...


class ADRRL(RLModule):
    """Adversarial diffusion for robust reinforcement learning: the Dyna loop of the paper's Algorithm 1.

    Each training step collects nothing itself: it receives a fresh rollout, trains the denoiser and the return model on
    windows of all experience, imagines trajectories from real start states, tilted towards the worst ``alpha`` tail of
    returns, and improves policy and value function on a mixture of real, nominal imagined and guided imagined data.

    Logs what :class:`~rrl.algorithms.base.RLModule` logs, and

    - ``diffusion/loss``, ``diffusion/return_loss``: training losses of the denoiser and of what judges returns;
    - ``diffusion/heldout_loss``: the denoiser's loss on the fresh rollout before it is trained on; there too, where a
      return model guides, ``diffusion/return_correlation``, that of its predictions with the realised returns, where
      quantiles are told, ``diffusion/lower_half``, the share of returns in the lower half of their law, and where
      transitions are shifted, ``diffusion/error_spread``, errors in standard deviations of what is imagined;
    - ``diffusion/imagined_return_mean``, ``diffusion/imagined_return_cvar``: predicted returns of the imagined windows;
    - ``diffusion/imagined_termination_rate``, ``diffusion/real_termination_rate``: windows in which an episode ends;
    - ``diffusion/imagination_in_use``: 1 where imagined data entered the policy update, 0 where real ones alone did;
    - ``diffusion/kl_scale``: factor of the trust region's bound in the last policy update;
    - ``diffusion/action_spread``: standard deviation of standardised imagined actions; 1 is on-policy;
    - ``diffusion/used_fraction``: imagined transitions before an imagined end that stayed on-policy;
    - ``guidance/path_kl``, ``guidance/log_ratio``: the realised relative entropy of the guided paths in nats, and the
      mean of their log-likelihood ratios; without a gradient both are the rule's closed form;
    - ``guidance/strength``: the strength that ``NoiseConditional`` has adapted.

    Args:
        spaces: Of the task, with the horizon of the windows, ``10`` in the paper; from the data.
        learner: Networks, critic and horizon of the player; lambda is ``0.9`` in the paper.
        policy_update: How the policy steps; ``A2C`` in the paper.
        world_model: The models that imagine.
        imagination: How much of the data is imagined, and from when on.

    Differences from the paper: by default the policy improves by TRPO instead of A2C with a controlled step size; the
    mixture, the length of its steps, the warm-up, the bootstrapped return and the solver are ours; see each setting for
    the paper's value, and ``conf/adrrl_*_paper.yaml`` for all of them together. Whatever is configured, the denoiser
    estimates clean trajectories instead of their noise, as the published code does; windows hold differences from their
    start state, end flags are not standardised, nothing behind an episode's end is learnt, and imagined transitions
    that left the policy do not count. The value function has standardised targets and no slowly moving copy, where the
    published code fits raw ones to an average of its past.

    References:
        Foffano, Russo and Proutiere, "Adversarial diffusion for robust reinforcement learning", NeurIPS 2025.
        Rigter, Yamada and Posner, "World models via policy-guided trajectory diffusion", TMLR 2024.
    """

    needs_windows = True

    def __init__(
        self,
        spaces: Spaces,
        *,
        learner: Learner = Learner(),
        policy_update: TrustRegion | A2C = TrustRegion(),
        world_model: WorldModelSettings = WorldModelSettings(),
        imagination: Imagination = Imagination(),
    ) -> None:
        if isinstance(policy_update, A2C) and not imagination.spread_from_imagination:
            raise ValueError(
                "`imagination.spread_from_imagination` must be true where `policy_update` is A2C, got false."
            )
        if isinstance(policy_update, A2C) and imagination.shorten_steps:
            raise ValueError("`imagination.shorten_steps` must be false where `policy_update` is A2C, got true.")
        super().__init__(spaces, learner=learner, policy_update=policy_update)
        self.remember(world_model=world_model, imagination=imagination)
        rule = world_model.guidance
        if isinstance(rule, NoiseConditional) and rule.target == "cvar" and imagination.guided_fraction == 1.0:
            raise ValueError("`guided_fraction` must be below 1 where the guidance's `target` is 'cvar', got 1.0.")
        self.imagination, self.model_learning_rate = imagination, world_model.learning_rate
        self.world_model = WorldModel(spaces, world_model, gamma=learner.gamma)
        self.trust = ModelTrust(imagination)
        self._starts: Tensor | None = None

    def check_trainer(self, trainer: Any) -> None:
        """Refuse what depends on diagnoses where nobody makes them."""
        super().check_trainer(trainer)
        judged = any(isinstance(item, JudgesImagination) for item in trainer.callbacks)
        for name in ("max_replay_error", "shorten_steps"):
            if getattr(self.imagination, name) not in {None, False} and not judged:
                raise ValueError(f"`imagination.{name}` needs the callback ImaginationDiagnostics, got none.")

    def judge_imagination(self, metrics: Mapping[str, float]) -> None:
        """Take in a diagnosis: imagined data are used or not until the next."""
        self.trust.take_in(metrics)

    def training_step(self, batch: DynaBatch, batch_idx: int) -> None:
        """Perform one pass of Algorithm 1 on fresh experience: fit the models, imagine, improve the policy."""
        self._starts = batch.start_observations[-1]
        self.count_steps(batch.rollout)
        with self.timed("diffusion"):
            self.log_metrics(self.world_model.evaluate(batch.fresh_windows, self.protagonist))
            optimizer = self.bare_optimizer(2)
            self.log_metrics(self.world_model.fit(batch.windows.unbind(), self.protagonist, optimizer))
        self._improve(batch)
        self.protagonist.normalizer.update(batch.rollout.transitions.observations)
        self.log_rollout(batch.rollout.episodes)
        self.end_iteration(batch.rollout.transitions.rewards.numel() * self.trainer.world_size)

    def _improve(self, batch: DynaBatch) -> None:
        """Improve policy and value function on real and imagined data, as often as there are start states for."""
        real, real_fraction = batch.rollout.transitions, self.imagination.real_fraction
        in_use = self._may_imagine(batch.rollout)
        self.log_metrics({"diffusion/imagination_in_use": float(in_use)})
        if not in_use:
            if real_fraction > 0.0:
                self._update([real], num_real=real.weights.numel())
            return
        for starts in batch.start_observations:
            # Steps on imagined data alone are trusted as far as the model is.
            kl_scale = self.trust.kl_scale() if _can_be_judged(batch.rollout) and real_fraction == 0.0 else 1.0
            self.log_metrics({"diffusion/kl_scale": kl_scale})
            if kl_scale == 0.0:
                return
            with self.timed("imagine"):
                sources = mix_real_and_imagined(real, self._imagine_mixture(starts), real_fraction)
            # Where every imagined action has left the policy there may be nothing to learn from.
            if real_fraction > 0.0 or float(
                all_reduce_sum(torch.stack([part.weights.sum() for part in sources]).sum())
            ):
                self._update(sources, num_real=real.weights.numel() if real_fraction > 0.0 else 0, kl_scale=kl_scale)
            real_fraction = 0.0  # the rollout is not that of the policy any more

    def _may_imagine(self, rollout: Rollout) -> bool:
        """Tell whether imagined data are used: after the warm-up, while the model is as good as is asked."""
        trusted = not _can_be_judged(rollout) or self.trust.holds()
        return trusted and int(self.env_steps) >= self.imagination.warmup

    def _update(self, sources: list[RolloutBatch], *, num_real: int, kl_scale: float = 1.0) -> None:
        """Update the protagonist on transitions of several sources, of which the first are the real ones."""
        with self.timed("update"):
            judged = self.advantage_batch(self.protagonist, sources)
            real_only = judged.first(num_real) if num_real > 0 else None
            learns_spread = self.imagination.spread_from_imagination or num_real == judged.weights.numel()
            imagined = torch.arange(judged.weights.numel(), device=self.device) >= num_real
            self.update_player(
                "protagonist",
                self.protagonist,
                judged,
                self.player_step_optimizers(),
                value_batch=judged if self.imagination.value_from_imagination else real_only,
                held=None if learns_spread else imagined,
                kl_scale=kl_scale,
            )

    def _imagine_mixture(self, starts: Tensor) -> list[RolloutBatch]:
        """Imagine nominal and guided trajectories in the configured proportion and log both."""
        model, guides = self.world_model, int(self.env_steps) >= self.imagination.guidance_warmup
        num_guided = round(self.imagination.guided_fraction * len(starts)) if guides else 0
        parts: list[JudgedTrajectories] = []
        for share, guided in ((starts[num_guided:], False), (starts[:num_guided], True)):
            if len(share) > 0:
                parts.append(self.imagine(share, guided=guided))
                model.adapt_actions(parts[-1])
        if num_guided > 0:
            self.log_metrics(model.adapt_guidance(parts[-1], parts[0]))
        rollouts = [as_rollout(part) for part in parts]
        returns = torch.cat([part.returns for part in parts])
        ended = torch.cat([rollout.terminated.any(dim=0) for rollout in rollouts])
        self.log_metrics({
            "diffusion/imagined_return_mean": returns.mean(),
            "diffusion/imagined_return_cvar": empirical_cvar(returns, model.guidance.alpha),
            "diffusion/imagined_termination_rate": ended.float().mean(),
            "diffusion/action_spread": parts[0].action_spread,
            "diffusion/used_fraction": torch.cat([rollout.weights.flatten() for rollout in rollouts]).mean(),
        })
        return rollouts

    def imagine(self, starts: Tensor, *, guided: bool, generator: torch.Generator | None = None) -> JudgedTrajectories:
        """Imagine one trajectory of the current policy from each start; see :meth:`WorldModel.imagine`."""
        return self.world_model.imagine(starts, self.protagonist, guided=guided, generator=generator)

    def imagined_returns(self) -> tuple[Tensor, Tensor] | None:
        """Imagine from the newest start states with and without guidance, for the figure at the end of a run.

        Returns:
            Predicted returns of guided and of unguided trajectories, each of shape ``[B]``; None before any iteration.
        """
        if self._starts is None:
            return None
        stream = torch_stream(Purpose.FIGURE, int(self.env_steps), device=self.device)
        starts = self._starts.to(self.device)
        guided, unguided = (self.imagine(starts, guided=kind, generator=stream).returns for kind in (True, False))
        return guided, unguided

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the newest start states, for a run that has nothing left but to draw its figures."""
        checkpoint["newest_starts"] = None if self._starts is None else self._starts.clone()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the newest start states back."""
        self._starts = checkpoint.get("newest_starts")

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimisers of the policy, its value function, and the trajectory models."""
        models = Adam(self.world_model.models.trained_parameters(), lr=self.model_learning_rate, fused=True)
        return [*self.player_optimizers(self.protagonist), models]


def _can_be_judged(rollout: Rollout) -> bool:
    """Tell whether diagnoses can replay what is imagined in the worlds of a rollout."""
    return rollout.simulator_states.shape[-1] > 0
