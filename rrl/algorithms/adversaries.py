"""Who exerts the forces in a rollout: a learned adversary, one that the risk gates, or chance."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from rrl.policies import ActorCritic, ActorSnapshot
from rrl.risk import RiskCalibrator, RiskGate
from rrl.risk.dataset import push_history
from rrl.risk.gate_snapshot import gate_snapshot
from rrl.types import Adversary, Attack

Module = TypeVar("Module", bound=nn.Module)


class LearnedAdversary:
    """A player that pushes in every state."""

    def __init__(self, player: ActorCritic) -> None:
        self.player = ActorSnapshot(player)

    def attack(self, observations: Tensor, noise: Tensor, uniforms: Tensor, starts: Tensor) -> Attack:
        """Let the player push; see :class:`rrl.types.Adversary`."""
        return everywhere(self.player.act(observations, noise))


class UniformAdversary:
    """Pushes at random, uniformly within the force limit: the control that learns nothing."""

    def attack(self, observations: Tensor, noise: Tensor, uniforms: Tensor, starts: Tensor) -> Attack:
        """Turn normal draws into uniform ones; see :class:`rrl.types.Adversary`."""
        return everywhere(torch.erf(noise / math.sqrt(2.0)))


class GatedAdversary:
    """A player that pushes only where the gate is open. Made anew for each rollout."""

    def __init__(self, player: ActorCritic, calibrator: RiskCalibrator, gate: RiskGate) -> None:
        self.player = ActorSnapshot(player)
        self._length = calibrator.predictor.history
        self._gate = on_cpu(gate)
        self._decide = gate_snapshot(on_cpu(calibrator), self._gate)
        self._history: Tensor | None = None

    def attack(self, observations: Tensor, noise: Tensor, uniforms: Tensor, starts: Tensor) -> Attack:
        """Let the player push where the gate is open; see :class:`rrl.types.Adversary`."""
        risk, is_open = self._decide(self._features(observations, starts), uniforms)
        actions = self.player.act(observations, noise)
        return Attack(actions, is_open, self._gate.explored(uniforms), risk)

    def _features(self, observations: Tensor, starts: Tensor) -> Tensor:
        """Return what the predictor reads: the observations, or the histories that end with them."""
        if self._length is None:
            return observations
        if self._history is None:
            self._history = observations.unsqueeze(1).expand(-1, self._length, -1)
        self._history = push_history(self._history, observations, starts)
        return self._history


class WeakenedAdversary:
    """An adversary whose forces are a share of what they would be."""

    def __init__(self, adversary: Adversary, strength: float) -> None:
        self._adversary, self._strength = adversary, strength

    def attack(self, observations: Tensor, noise: Tensor, uniforms: Tensor, starts: Tensor) -> Attack:
        """Let the adversary push, with less force; see :class:`rrl.types.Adversary`."""
        return self._adversary.attack(observations, noise, uniforms, starts)._replace(strength=self._strength)


def everywhere(actions: Tensor) -> Attack:
    """Execute actions ``[N, F]`` in all states."""
    is_open = torch.ones(len(actions), dtype=torch.bool)
    return Attack(actions, is_open, torch.zeros_like(is_open), torch.full((len(actions),), math.nan))


def on_cpu(module: Module) -> Module:
    """Bring a module to where the simulator is; a copy only where it is elsewhere."""
    tensors = [*module.parameters(), *module.buffers()]
    return module if all(tensor.device.type == "cpu" for tensor in tensors) else copy.deepcopy(module).cpu()
