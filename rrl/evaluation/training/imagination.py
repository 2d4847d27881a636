"""Judge imagined trajectories where it matters: against the simulator, from the same states with the same actions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from rrl.checks import require_at_least
from rrl.envs import MuJoCoVectorEnv, flat_box
from rrl.evaluation.training.callbacks import is_time
from rrl.random_streams import Purpose, derived_seed, torch_stream
from rrl.types import WindowBatch


@runtime_checkable
class Imagines(Protocol):
    """An algorithm with a ``world_model``, whose ``protagonist`` acts in what it imagines."""

    def imagine(self, starts: Tensor, *, guided: bool, generator: torch.Generator) -> Any:
        """Imagine a trajectory from each start observation ``[B, O]``."""
        ...


class ImaginationDiagnostics(Callback):
    """Replays imagined actions in the simulator every few epochs, and logs what that says of model and guidance.

    The model:

    - ``model/replay_error``: root mean square distance of imagined observations to the nearest of the replays, in
      standard deviations of the observations; ``model/persistence_error`` is that of assuming that nothing changes;
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

    Args:
        every_n_epochs: Epochs between two diagnoses.
        starts: Start states, ``B``.
        draws: Draws of pushes and physics for each, ``W``; also the imagined draws for each start.
    """

    def __init__(self, every_n_epochs: int = 5, starts: int = 32, draws: int = 32) -> None:
        require_at_least(1, every_n_epochs=every_n_epochs, starts=starts, draws=draws)
        self.every_n_epochs, self.starts, self.draws = every_n_epochs, starts, draws
        self.envs: VectorEnv[Any, Any, Any] | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Diagnose, if it is time and the module imagines."""
        if is_time(trainer, self.every_n_epochs) and isinstance(pl_module, Imagines):
            pl_module.log_dict(self.diagnose(trainer.datamodule, pl_module), batch_size=1)  # type: ignore[attr-defined]

    @torch.no_grad()
    def diagnose(self, data: Any, module: Any) -> dict[str, float]:
        """Compute all metrics, by log key, with a trajectory DataModule and an algorithm that :class:`Imagines`."""
        moment = (data.seed, int(module.env_steps))
        starts = data.buffer.sample_starts(
            self.starts, recent=data.recent_starts, generator=torch_stream(Purpose.DIAGNOSTICS, *moment)
        )
        repeated = starts.observations.to(module.device).repeat_interleave(self.draws, dim=0)
        stream = torch_stream(Purpose.DIAGNOSTICS, *moment, 1, device=module.device)
        unguided, guided = (module.imagine(repeated, guided=kind, generator=stream) for kind in (False, True))
        returns, guided_returns = (part.returns.view(self.starts, self.draws) for part in (unguided, guided))
        spread = returns.var(dim=1).mean().sqrt().clamp(min=1e-8)
        metrics = {"guidance/return_shift": float((guided_returns.mean() - returns.mean()) / spread)}
        if starts.simulator_states.shape[-1] == 0:
            return metrics
        if self.envs is None:
            self.envs = data.make_envs(self.starts * self.draws)
        self.envs.reset(seed=derived_seed(Purpose.REPLAY, *moment))
        metrics |= self._judge(module, starts.simulator_states, unguided, returns[:, 0], "unguided_")
        return metrics | self._judge(module, starts.simulator_states, guided, guided_returns[:, 0], "")

    def _judge(self, module: Any, states: Tensor, imagined: Any, predicted: Tensor, prefix: str) -> dict[str, float]:
        """Compare the first trajectory of each start with replays of its actions, and of the policy with its noise."""
        actions, observations = imagined.actions[:: self.draws].cpu(), imagined.observations[:: self.draws].cpu()
        player = copy.deepcopy(module.protagonist).cpu()
        mean, std = player.mean_and_std(observations)
        noise = (actions - mean) / std

        def replayed(choose: Callable[[int, Tensor], Tensor]) -> Replays:
            return replay(self.envs, states, choose, draws=self.draws, horizon=actions.shape[1])  # type: ignore[arg-type]

        open_loop = replayed(lambda step, seen: actions[:, step])
        closed_loop = replayed(lambda step, seen: player.mean_and_std(seen)[0] + std * noise[:, step])
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


def judge_model(imagined: Tensor, replays: Replays, world_model: Any) -> dict[str, float]:
    """Compare raw observations ``[B, H, O]`` of unguided trajectories with the replays of their actions, by log key.

    The world model knows the scale of the observations and when an episode ends.
    """
    scale = world_model.models.normalizer.start_std.cpu()

    def distance(guess: Tensor) -> float:
        squares = ((guess - replays.observations) / scale).square().mean(dim=-1)[:, :, 1:]
        seen = replays.valid[:, :, :-1]
        per_world = (squares * seen).sum(dim=-1) / seen.sum(dim=-1)
        return float(per_world.min(dim=0).values.mean().sqrt())

    metrics = {
        "model/replay_error": distance(imagined),
        "model/persistence_error": distance(imagined[:, :1].expand_as(imagined)),
        "model/replayed_termination_rate": float(replays.terminated.any(dim=-1).float().mean()),
    }
    low, high = world_model.healthy_low.cpu(), world_model.healthy_high.cpu()
    if len(low) > 0:
        unhealthy = ((imagined[:, 1:] < low) | (imagined[:, 1:] > high)).flatten(1).any(dim=1)
        metrics["model/imagined_termination_rate"] = float(unhealthy.float().mean())
    return metrics


class Replays(NamedTuple):
    """The same actions from the same states, under several draws of pushes and physics."""

    observations: Tensor
    """Raw observations; behind an episode's end the last one repeats. Shape ``[W, B, H, O]``."""
    rewards: Tensor
    """Rewards; 0 behind an episode's end and in the last column. Shape ``[W, B, H]``."""
    terminated: Tensor
    """Transitions that ended the episode for good. Boolean, shape ``[W, B, H]``."""
    valid: Tensor
    """Transitions up to the end of the episode; the last row has none. Boolean, shape ``[W, B, H]``."""

    def as_windows(self) -> WindowBatch:
        """Deliver all replays as one batch of ``W * B`` windows, without their actions."""
        observations, rewards, terminated, valid = (column.flatten(0, 1) for column in self)
        return WindowBatch(observations, observations[..., :0], rewards, terminated, valid)


def replay(
    envs: VectorEnv[Any, Any, Any],
    states: Tensor,
    choose: Callable[[int, Tensor], Tensor],
    *,
    draws: int,
    horizon: int,
) -> Replays:
    """Run short trajectories of ``H`` rows from simulator states ``[B, S]``, float64, each in ``W`` worlds drawn anew.

    There must be ``W * B`` native worlds, else that is a TypeError or ValueError. ``choose`` gives raw actions
    ``[W, B, A]``, or ``[B, A]`` for all draws alike, by the step and raw observations ``[W, B, O]``.
    """
    if not isinstance(envs, MuJoCoVectorEnv):
        raise TypeError(f"`envs` must be native worlds, got {envs}.")
    if envs.num_envs != draws * len(states):
        raise ValueError(f"`envs` must have {draws * len(states)} worlds, got {envs.num_envs}.")
    space = flat_box(envs.single_action_space)
    envs.reset()
    current = envs.set_simulator_states(np.tile(states.numpy(), (draws, 1)))
    running = np.ones(len(current), dtype=bool)
    columns: list[list[NDArray[Any]]] = [[current], [], [], []]
    for step in range(horizon - 1):
        actions = choose(step, torch.from_numpy(current).float().unflatten(0, (draws, -1)))
        controls = actions.expand(draws, -1, -1).flatten(0, 1).numpy()
        after, rewards, terminated, truncated, infos = envs.step(np.clip(controls, space.low, space.high))
        # The worlds reset themselves where an episode ends; what the trajectory saw is the observation before that.
        following = np.where(infos["_final_obs"][:, None], infos["final_obs"], after) if "final_obs" in infos else after
        current = np.where(running[:, None], following, current)
        for column, values in zip(columns, (current, rewards * running, terminated & running, running), strict=True):
            column.append(values)
        running = running & ~(terminated | truncated)
    for column in columns[1:]:
        column.append(np.zeros_like(column[0]))
    return Replays(*(_stacked(column, draws) for column in columns))


def _stacked(column: list[NDArray[Any]], draws: int) -> Tensor:
    """Turn a list over steps of ``[W * B, ...]`` into ``[W, B, H, ...]``."""
    tensor = torch.from_numpy(np.stack(column, axis=1))
    split: Tensor = (tensor.float() if tensor.is_floating_point() else tensor).unflatten(0, (draws, -1))
    return split
