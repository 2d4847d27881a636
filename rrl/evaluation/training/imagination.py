"""Judge imagined trajectories where it matters: against the simulator, from the same states with the same actions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import torch
from gymnasium.vector import VectorEnv
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from rrl.algorithms.mixture import as_rollout
from rrl.checks import require_at_least
from rrl.evaluation.training.agreement import judge_update
from rrl.evaluation.training.callbacks import is_time
from rrl.evaluation.training.replays import Replays, replay
from rrl.random_streams import Purpose, derived_seed, torch_stream
from rrl.tracking.sending import send_metrics


@runtime_checkable
class Imagines(Protocol):
    """An algorithm with a ``world_model``, whose ``protagonist`` acts in what it imagines."""

    def imagine(self, starts: Tensor, *, guided: bool, generator: torch.Generator) -> Any:
        """Imagine a trajectory from each start observation ``[B, O]``."""
        ...

    def judge_imagination(self, metrics: Mapping[str, float]) -> None:
        """Take in the outcome of a diagnosis, by log key."""
        ...


class ImaginationDiagnostics(Callback):
    """Replays imagined actions in the simulator every few epochs, and logs what that says of model and guidance.

    The model:

    - ``model/replay_error``: root mean square distance of imagined observations to the nearest of the replays, in
      standard deviations of the observations; ``model/persistence_error`` is that of assuming that nothing changes;
    - ``model/replay_error_1``, ..., the same for the first, middle and last imagined row of a trajectory alone;
    - ``model/advantage_agreement``, ``model/gradient_agreement``: what an update would make of imagined data and of the
      policy's real trajectories from the same states with the same action noise, each in one world: correlation of the
      advantages of the first actions, and cosine of the policy gradients. 1 is no error and 0 no information;
    - ``model/imagined_termination_rate`` and ``model/replayed_termination_rate``: windows in which the episode ends.

    The guidance, by its effect:

    - ``guidance/return_shift``: change of the predicted return, in its standard deviations within a start state;
    - ``guidance/quantile`` and ``guidance/unguided_quantile``: where predicted returns lie in the true distribution of
      returns over the uncertainty set, from the same start with the same actions; 0.5 is no effect, ``alpha / 2`` to
      ``alpha`` is what the method promises;
    - ``guidance/closed_loop_quantile`` and ``guidance/unguided_closed_loop_quantile``: the same where the policy reacts
      to what happens, with the action noise of the imagined trajectory. This is the fair comparison where a body falls
      unless its actions answer its states: actions that were right in one world are wrong in most others.

    Only tasks that are stepped natively can be replayed; for others the callback logs ``guidance/return_shift`` alone.
    The module is told the outcome.

    Args:
        every_n_epochs: Epochs between two diagnoses.
        starts: Start states, ``B``.
        draws: Draws of pushes and physics for each, ``W``; also the imagined draws for each start.
    """

    def __init__(self, every_n_epochs: int = 5, starts: int = 32, draws: int = 32) -> None:
        sizes = {"every_n_epochs": every_n_epochs, "starts": starts, "draws": draws}
        require_at_least(1, **{f"diagnostics.{name}": value for name, value in sizes.items()})
        self.every_n_epochs, self.starts, self.draws = every_n_epochs, starts, draws
        self.envs: VectorEnv[Any, Any, Any] | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Diagnose, if it is time and the module imagines."""
        if is_time(trainer, self.every_n_epochs) and isinstance(pl_module, Imagines):
            metrics = self.diagnose(trainer.datamodule, pl_module)  # type: ignore[attr-defined]
            send_metrics(trainer, metrics)
            pl_module.judge_imagination(metrics)

    @torch.no_grad()
    def diagnose(self, data: Any, module: Any) -> dict[str, float]:
        """Compute all metrics, by log key, with a trajectory DataModule and an algorithm that :class:`Imagines`."""
        moment = (data.seed, int(module.env_steps))
        starts = data.buffer.sample_starts(
            self.starts, recent=data.recent_starts, generator=torch_stream(Purpose.DIAGNOSTICS, *moment)
        )
        observations = starts.observations.to(module.device)
        stream = torch_stream(Purpose.DIAGNOSTICS, *moment, 1, device=module.device)
        unguided = module.imagine(observations.repeat_interleave(self.draws, dim=0), guided=False, generator=stream)
        # A guided trajectory may be the worst of many draws, so there is one for each start.
        guided = module.imagine(observations, guided=True, generator=stream)
        returns, guided_returns = unguided.returns.view(self.starts, self.draws), guided.returns
        spread = returns.var(dim=1).mean().sqrt().clamp(min=1e-8)
        metrics = {"guidance/return_shift": float((guided_returns.unsqueeze(1) - returns).mean() / spread)}
        if starts.simulator_states.shape[-1] == 0:
            return metrics
        if self.envs is None:
            self.envs = data.make_envs(self.starts * self.draws)
        data.set_width(self.envs)
        self.envs.reset(seed=derived_seed(Purpose.REPLAY, *moment))
        metrics |= self._judge_update(module, starts.simulator_states, unguided)
        first = unguided.select(torch.arange(0, len(unguided.returns), self.draws, device=module.device))
        metrics |= self._judge(module, starts.simulator_states, first, "unguided_")
        return metrics | self._judge(module, starts.simulator_states, guided, "")

    def _judge_update(self, module: Any, states: Tensor, imagined: Any) -> dict[str, float]:
        """Compare every trajectory with what the policy does in one world with the same noise."""
        states, noise = states.repeat_interleave(self.draws, dim=0), imagined.deviations.cpu()
        act = _reacting(module, noise)
        real = replay(self.envs, states, act, draws=1, horizon=noise.shape[1])  # type: ignore[arg-type]
        actions = torch.stack([act(step, real.observations[:, :, step]) for step in range(noise.shape[1])], dim=2)
        return judge_update(module, as_rollout(imagined), real.as_rollout(actions).to(module.device))

    def _judge(self, module: Any, states: Tensor, imagined: Any, prefix: str) -> dict[str, float]:
        """Compare one trajectory of each start with replays of its actions, and of the policy with its noise."""
        actions, observations, predicted = imagined.actions.cpu(), imagined.observations.cpu(), imagined.returns

        def replayed(choose: Callable[[int, Tensor], Tensor]) -> Replays:
            return replay(self.envs, states, choose, draws=self.draws, horizon=actions.shape[1])  # type: ignore[arg-type]

        open_loop = replayed(lambda step, seen: actions[:, step])
        closed_loop = replayed(_reacting(module, imagined.deviations.cpu()))
        metrics = {
            f"guidance/{prefix}quantile": self._quantile(module, open_loop, predicted),
            f"guidance/{prefix}closed_loop_quantile": self._quantile(module, closed_loop, predicted),
        }
        # The model is judged by what it imagines unguided.
        return metrics | judge_model(observations, open_loop, module.world_model) if prefix else metrics

    def _quantile(self, module: Any, replays: Replays, predicted: Tensor) -> float:
        """Give the mean quantile of predicted returns ``[B]`` among the true returns of their replays."""
        windows = replays.as_windows().to(module.device)
        true = module.world_model.window_returns(windows, module.protagonist).view(self.draws, self.starts)
        return float(((true < predicted).float() + 0.5 * (true == predicted).float()).mean())

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the worlds."""
        if self.envs is not None:
            self.envs.close()
            self.envs = None


def _reacting(module: Any, noise: Tensor) -> Callable[[int, Tensor], Tensor]:
    """Let the protagonist, on the CPU, answer what happens, with standard normal noise ``[B, H, A]``."""
    player = copy.deepcopy(module.protagonist).cpu()

    def act(step: int, seen: Tensor) -> Tensor:
        mean, std = player.mean_and_std(seen)
        return cast(Tensor, mean + std * noise[:, step])

    return act


def judge_model(imagined: Tensor, replays: Replays, world_model: Any) -> dict[str, float]:
    """Compare raw observations ``[B, H, O]`` of unguided trajectories with the replays of their actions, by log key.

    The world model knows the scale of the observations and when an episode ends.
    """
    scale, seen = world_model.models.normalizer.start_std.cpu(), replays.valid[:, :, :-1]

    def nearest(guess: Tensor) -> tuple[float, Tensor, Tensor]:
        """Return the distance to the nearest replays, and for each row its square and whether there is one."""
        squares = ((guess - replays.observations) / scale).square().mean(dim=-1)[:, :, 1:]
        per_world = (squares * seen).sum(dim=-1) / seen.sum(dim=-1)
        least, world = per_world.min(dim=0)
        every = torch.arange(len(world))
        return float(least.mean().sqrt()), squares[world, every], seen[world, every]

    error, squares, present = nearest(imagined)
    metrics = {
        "model/replay_error": error,
        "model/persistence_error": nearest(imagined[:, :1].expand_as(imagined))[0],
        "model/replayed_termination_rate": float(replays.terminated.any(dim=-1).float().mean()),
    }
    for row in {1, imagined.shape[1] // 2, imagined.shape[1] - 1}:
        if present[:, row - 1].any():
            metrics[f"model/replay_error_{row}"] = float(squares[:, row - 1][present[:, row - 1]].mean().sqrt())
    low, high = world_model.healthy_low.cpu(), world_model.healthy_high.cpu()
    if len(low) > 0:
        unhealthy = ((imagined[:, 1:] < low) | (imagined[:, 1:] > high)).flatten(1).any(dim=1)
        metrics["model/imagined_termination_rate"] = float(unhealthy.float().mean())
    return metrics
