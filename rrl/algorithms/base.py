"""What all algorithms share: the update of one player, its critic, and how it is logged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from rrl.a2c import A2C, a2c_step
from rrl.algorithms.advantage_batch import AdvantageBatch, advantage_batch, explained_variance
from rrl.configuration import to_plain
from rrl.distributed import gather_objects
from rrl.policies import ActorCritic, ActorSnapshot, Learner, fit_value_function
from rrl.schedule import training_progress
from rrl.spaces import Spaces
from rrl.tracking.sending import send_metrics
from rrl.trpo import TrustRegion, TrustRegionOptimizer, TrustRegionStep, trpo_step
from rrl.types import Actor, Adversary, EpisodeStatistics, RestartStates, Rollout, RolloutBatch


class RLModule(LightningModule):
    """The conductor of an on-policy algorithm: it holds players, calls the mathematics and logs.

    Subclasses write ``training_step``, which performs one whole iteration on one fresh batch. Optimisation is manual:
    the policy steps through a :class:`~rrl.trpo.TrustRegionOptimizer`, so that Lightning's ``global_step`` counts
    policy updates; critics step behind Lightning's back and do not count.

    Logs, once an iteration (the complete list of keys of all algorithms is the union of their docstrings):

    - ``rollout/episode_return_mean``, ``rollout/episode_length_mean``, ``rollout/failure_rate``: training episodes;
      ``rollout/num_unstable``: those that an unstable simulation ended; ``rollout/curriculum_width``, where it grows;
    - ``protagonist/surrogate``, ``/kl_divergence``, ``/step_fraction``, ``/line_search_accepted``: the policy step;
    - ``protagonist/value_loss``, ``/explained_variance``, ``/entropy``: the critic, and the spread of the policy;
    - ``time/env_steps``: real environment steps over all ranks; ``time/steps_per_second``;
    - ``time/collect_share``, ``time/update_share``, ...: where the wall clock of the iteration went.

    The command line takes ``spaces`` from the data.
    """

    env_steps: Tensor
    """Real environment steps over all ranks so far. A buffer, so that it survives a resume."""

    needs_windows: ClassVar[bool] = False
    """Whether batches hold windows of trajectories beside a rollout."""

    def __init__(self, spaces: Spaces, *, learner: Learner, policy_update: TrustRegion | A2C) -> None:
        super().__init__()
        if spaces.horizon is not None and not self.needs_windows:
            raise ValueError(f"{type(self).__name__} takes rollouts without windows: use `data: RolloutDataModule`.")
        self.automatic_optimization = False
        self.spaces, self.learner, self.policy_update = spaces, learner, policy_update
        self.remember(spaces=spaces, learner=learner, policy_update=policy_update)
        self.register_buffer("env_steps", torch.zeros((), dtype=torch.long))
        self.protagonist = ActorCritic(spaces.obs_dim, spaces.action_dim, learner)
        self._seconds: dict[str, float] = {}
        self._metrics: dict[str, float | Tensor] = {}  # of the iteration that is under way
        self._iteration_end = 0.0

    def remember(self, **settings: Any) -> None:
        """Let checkpoints hold arguments of the constructor, which they are built from again."""
        self.save_hyperparameters(to_plain(settings), logger=False)

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Let the protagonist act; see :class:`rrl.types.Actor`."""
        return self.protagonist.act(observations, noise)

    def rollout_actor(self) -> Actor:
        """Return who acts in the worlds: the protagonist as it is now, on the CPU where the simulator is."""
        return ActorSnapshot(self.protagonist)

    def rollout_adversary(self) -> Adversary | None:
        """Return who pushes in the worlds: nobody, unless the algorithm is a game."""
        return None

    def rollout_restarts(self) -> RestartStates | None:
        """Return where some episodes begin: all as the task has it, unless the algorithm chooses."""
        return None

    def check_rollouts(self, num_steps: int) -> None:
        """Refuse, with a ValueError, rollouts of so few steps of a world that the algorithm cannot learn from them."""

    def check_trainer(self, trainer: Any) -> None:
        """Refuse, with a ValueError, a Trainer without what the algorithm depends on: an end, or a callback."""
        shrinks = isinstance(self.policy_update, TrustRegion) and self.policy_update.final_max_kl is not None
        if shrinks and trainer.max_epochs < 0:
            raise ValueError(f"`final_max_kl` needs a fixed number of epochs, got `max_epochs` {trainer.max_epochs}.")

    def on_fit_start(self) -> None:
        """Check the Trainer."""
        self.check_trainer(self.trainer)

    def on_train_start(self) -> None:
        """Start the clock of the first iteration."""
        self._iteration_end = time.perf_counter()

    def count_steps(self, rollout: Rollout) -> None:
        """Add a rollout's real environment steps, over all ranks, to the counter; log how wide its worlds were."""
        self.env_steps += rollout.transitions.rewards.numel() * self.trainer.world_size
        self._seconds["collect"] = float(rollout.seconds)
        if rollout.width is not None:
            self.log_metrics({"rollout/curriculum_width": rollout.width})

    def advantage_batch(self, player: ActorCritic, batches: Sequence[RolloutBatch]) -> AdvantageBatch:
        """Judge transitions of one or several sources by a player's values; see :func:`advantage_batch`."""
        return advantage_batch(player, batches, self.learner)

    def update_player(
        self,
        name: str,
        player: ActorCritic,
        batch: AdvantageBatch,
        optimizers: tuple[LightningOptimizer, Optimizer],
        *,
        value_batch: AdvantageBatch | None,
        held: Tensor | None = None,
        kl_scale: float = 1.0,
    ) -> None:
        """Improve a player's policy by one step and fit its value function, in place; log both under its name.

        The value function is fitted on ``value_batch``, where there is one. Samples that are ``held``, boolean ``[N]``,
        teach the policy's mean and not its spread; ``kl_scale`` multiplies the bound of a trust region. The optimisers
        are those of :meth:`player_step_optimizers`.

        Raises:
            FloatingPointError: If a gradient, a loss or a parameter is not finite; the message names the player.
        """
        policy_optimizer, value_optimizer = optimizers
        try:
            step = self._improve_policy(player, batch, policy_optimizer, held, kl_scale)
            if value_batch is not None:
                value_loss = self._fit_value(player, value_batch, value_optimizer)
                variance = explained_variance(value_batch)
                self.log_metrics({f"{name}/value_loss": value_loss, f"{name}/explained_variance": variance})
        except FloatingPointError as error:
            raise FloatingPointError(f"the {name} diverged in policy update {self.global_step}: {error}") from error
        self.log_metrics({
            f"{name}/surrogate": step.surrogate,
            f"{name}/kl_divergence": step.kl_divergence,
            f"{name}/step_fraction": step.step_fraction,
            f"{name}/line_search_accepted": float(step.step_fraction > 0.0),
            f"{name}/entropy": player.policy(batch.observations[:1]).entropy().mean(),
        })

    def _improve_policy(
        self,
        player: ActorCritic,
        batch: AdvantageBatch,
        optimizer: LightningOptimizer,
        held: Tensor | None,
        kl_scale: float,
    ) -> TrustRegionStep:
        """Take one step of the configured kind, in place; the optimiser, of the policy, must step exactly once."""
        update = self.policy_update
        if isinstance(update, A2C):
            return a2c_step(player.policy, *batch.policy_samples, update, optimizer)

        region = update if update.final_max_kl is None else update.at(training_progress(self.trainer))
        region = replace(region, max_kl=kl_scale * region.max_kl)

        def closure() -> TrustRegionStep:
            return trpo_step(player.policy, *batch.policy_samples, region, held=held)

        step: TrustRegionStep = optimizer.step(closure=closure)
        return step

    def _fit_value(self, player: ActorCritic, batch: AdvantageBatch, optimizer: Optimizer) -> float:
        return fit_value_function(
            player.value_function,
            optimizer,
            batch.observations,
            batch.value_targets,
            batch.value_weights,
            epochs=self.learner.value_epochs,
            batch_size=self.learner.value_batch_size,
        )

    def log_rollout(self, episodes: EpisodeStatistics) -> None:
        """Log the training episodes that ended, over all ranks; nothing where none did."""
        columns = [
            (item.returns, item.lengths.float(), item.failed.float(), item.unstable.float())
            for item in gather_objects(episodes.to("cpu"))
        ]
        returns, lengths, failed, unstable = (torch.cat(parts) for parts in zip(*columns, strict=True))
        if len(returns) > 0:
            self.log_metrics({
                "rollout/episode_return_mean": returns.mean(),
                "rollout/episode_length_mean": lengths.mean(),
                "rollout/failure_rate": failed.mean(),
                "rollout/num_unstable": unstable.sum(),
            })

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the wall-clock time of a block to a part of the iteration."""
        start = time.perf_counter()
        yield
        self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - start

    def end_iteration(self, new_steps: int) -> None:
        """Log progress and where the time of this iteration went, and send what the iteration has logged.

        ``new_steps`` are the real environment steps of this iteration over all ranks.
        """
        now = time.perf_counter()
        total = max(now - self._iteration_end, 1e-9)
        self._iteration_end = now
        shares = {f"time/{part}_share": seconds / total for part, seconds in self._seconds.items()}
        self._seconds = {}
        self.log_metrics({
            "time/env_steps": float(self.env_steps),
            "time/steps_per_second": new_steps / total,
            **shares,
        })
        self._send_metrics()

    def log_metrics(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Log scalars that are equal on all ranks, at the end of the iteration.

        Lightning's own ``log`` keeps an average over the epoch for each key, which took a third of a millisecond a key
        and nobody reads.
        """
        self._metrics |= {key: value.detach() if isinstance(value, Tensor) else value for key, value in metrics.items()}

    def _send_metrics(self) -> None:
        """Hand the metrics to the loggers, and to the callbacks as Lightning does."""
        tensors = {key: value for key, value in self._metrics.items() if isinstance(value, Tensor)}
        # One transfer to the host for all of them.
        on_device = [value.to(self.device, torch.float) for value in tensors.values()]
        moved = torch.stack(on_device).tolist() if tensors else []
        values = {key: float(value) for key, value in (self._metrics | dict(zip(tensors, moved, strict=True))).items()}
        self._metrics = {}
        send_metrics(self.trainer, values)

    def player_step_optimizers(self, first: int = 0) -> tuple[LightningOptimizer, Optimizer]:
        """Return a policy optimiser, wrapped so that Lightning counts its steps, and the bare value optimiser."""
        return cast(list[LightningOptimizer], self.optimizers())[first], self.bare_optimizer(first + 1)

    def bare_optimizer(self, index: int) -> Optimizer:
        """Return one of the optimisers without Lightning's wrapper: its steps do not count as steps of the run."""
        return cast(list[Optimizer], self.optimizers(use_pl_optimizer=False))[index]

    def player_optimizers(self, player: ActorCritic) -> list[Optimizer]:
        """Build a player's optimisers: policy, then value function."""
        parameters, update = player.policy.parameters(), self.policy_update
        policy = (
            AdamW(parameters, lr=update.learning_rate, fused=True)
            if isinstance(update, A2C)
            else TrustRegionOptimizer(parameters)
        )
        value_parameters = player.value_function.parameters()
        return [policy, Adam(value_parameters, lr=self.learner.value_learning_rate, fused=True)]
