"""A denoiser that imagines row after row: each from what it has imagined before, with the action that answers it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from rrl.checks import require_at_least
from rrl.diffusion.denoiser import Denoiser, DenoiserSettings, NoiseLevelEmbedding, denoising_loss, start_at_zero
from rrl.diffusion.guidance import TransitionShift
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.policy_guidance import PolicyFunction, PolicyGuidance
from rrl.diffusion.quantiles import quantile_features
from rrl.diffusion.residual_mlp import ResidualBlock
from rrl.diffusion.sampler import ImaginedTrajectories
from rrl.diffusion.scheduler import NoiseSchedule
from rrl.types import WindowBatch


@dataclass(frozen=True, kw_only=True)
class RowwiseGRU(DenoiserSettings):
    """One row after the other: a recurrent network remembers the clean rows, a perceptron denoises the next.

    Every action answers the state that was imagined for it, so trajectories are on-policy exactly and there is no fixed
    point to iterate for; and every row starts from a clean one. It cannot be guided by gradients, which shift whole
    trajectories. ``solver`` counts the steps of one row.
    """

    width: int = 128
    """Width of the recurrent state."""
    hidden_dim: int = 256
    """Width of the perceptron."""

    def __post_init__(self) -> None:
        require_at_least(1, width=self.width, hidden_dim=self.hidden_dim)

    def build(self, obs_dim: int, action_dim: int, horizon: int, *, told: int = 0) -> RowwiseDenoiser:
        """Make the network; it takes any horizon of at least 2."""
        require_at_least(2, horizon=horizon)
        return RowwiseDenoiser(obs_dim, action_dim, self, told=told)


class RowwiseDenoiser(Denoiser):
    """Estimates each transition: the change of the state, the reward, and whether the episode ends.

    References:
        Li et al., "Autoregressive image generation without vector quantization", NeurIPS 2024, whose diffusion head
        this is, over rows of a trajectory.
    """

    def __init__(self, obs_dim: int, action_dim: int, sizes: RowwiseGRU, *, told: int) -> None:
        super().__init__()
        inputs = obs_dim + action_dim + told
        self.noise_level = NoiseLevelEmbedding(sizes.hidden_dim)
        self.memory = nn.GRU(inputs, sizes.width, batch_first=True)
        self.noisy = nn.Linear(obs_dim + 2, sizes.hidden_dim)
        self.known = nn.Linear(inputs + sizes.width, sizes.hidden_dim)
        self.block = ResidualBlock(sizes.hidden_dim)
        self.output = nn.Linear(sizes.hidden_dim, obs_dim + 2)
        start_at_zero(self.output)

    def remember(self, rows: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Summarise clean rows: states, actions and what is told ``[B, T, O + A + told]``.

        Returns:
            What the head is given, ``[B, T, hidden_dim]``, and the memory to go on with.
        """
        summary, memory = self.memory(rows, memory)
        return self.known(torch.cat([rows, summary], dim=-1)), memory

    def remember_windows(self, windows: WindowBatch, normalizer: TrajectoryNormalizer, told: Tensor) -> Tensor:
        """Summarise the rows of real windows that are followed by another. Shape ``[B, H - 1, hidden_dim]``."""
        states = normalizer.encode_start(windows.observations[:, :-1])
        actions = normalizer.encode_actions(windows.actions[:, :-1])
        return self.remember(torch.cat([states, actions, told[:, None].expand(-1, states.shape[1], -1)], dim=-1))[0]

    def denoise(self, noisy: Tensor, known: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean transitions ``[B, T, O + 2]`` behind noisy ones of noise levels ``[B, T]``."""
        level = self.noise_level(sigma.flatten()).unflatten(0, sigma.shape)
        scaled = noisy * torch.rsqrt(1.0 + sigma.square())[..., None]
        hidden = nn.functional.silu(self.noisy(scaled) + known + level)
        estimate: Tensor = self.output(nn.functional.silu(self.block(hidden)))
        return estimate

    def loss(
        self,
        windows: WindowBatch,
        normalizer: TrajectoryNormalizer,
        told: Tensor,
        schedule: NoiseSchedule,
        generator: torch.Generator,
    ) -> Tensor:
        """Compute the loss of all rows, each at a noise level of its own, behind clean rows."""
        x0, mask = normalizer.encode_transitions(windows)
        known = self.remember_windows(windows, normalizer, told)
        sigma = schedule.sample_sigmas(x0.shape[0] * x0.shape[1], generator).view(x0.shape[:2])
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        return denoising_loss(self.denoise(x0 + sigma[..., None] * noise, known, sigma), x0, mask)


@dataclass(frozen=True)
class RowwiseSampler:
    """Imagines trajectories from given start states, one row after the other.

    Args:
        schedule: Noise levels and solver of each row.
        normalizer: Scale of the model; read, never updated.
    """

    schedule: NoiseSchedule
    normalizer: TrajectoryNormalizer

    @torch.no_grad()
    def sample(
        self,
        denoiser: RowwiseDenoiser,
        policy: PolicyFunction,
        start: Tensor,
        *,
        policy_guidance: PolicyGuidance,
        shift: TransitionShift | None = None,
        quantile: Tensor | None = None,
        generator: torch.Generator,
    ) -> ImaginedTrajectories:
        """Imagine one trajectory from each start state; see :meth:`TrajectorySampler.sample`.

        The policy guidance has nothing to do, and what is shifted is the noise of each transition.
        """
        told = start[:, :0] if quantile is None else quantile_features(quantile)
        mean, std = policy(start)
        observations, actions, rewards, ended = [start], [], [], []
        deviations = torch.randn(
            (len(start), self.normalizer.horizon, mean.shape[-1]), generator=generator, device=start.device
        )
        memory: Tensor | None = None
        for row in range(self.normalizer.horizon - 1):
            actions.append(mean + std * deviations[:, row])
            state = self.normalizer.encode_start(observations[-1])
            rows = torch.cat([state, self.normalizer.encode_actions(actions[-1]), told], dim=-1)
            known, memory = denoiser.remember(rows[:, None], memory)
            transition = partial(self.imagine_row, denoiser, known, observations[-1])
            noise = self._draw_noise(known, generator)
            if shift is not None:
                noise = noise + shift(noise, transition)
            following, reward, end = transition(noise)
            observations.append(following)
            rewards.append(reward)
            ended.append(end)
            mean, std = policy(following)
        actions.append(mean + std * deviations[:, -1])
        nothing = torch.zeros_like(rewards[0])
        return ImaginedTrajectories(
            torch.stack(observations, dim=1),
            torch.stack(actions, dim=1),
            torch.stack([*rewards, nothing], dim=1),
            torch.stack([*ended, nothing], dim=1),
            log_ratio=nothing,
            path_kl=nothing,
            deviations=deviations,
        )

    def _draw_noise(self, known: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the noise of all steps of one transition of each trajectory. Shape ``[B, N, O + 2]``."""
        shape = (known.shape[0], 1, self.normalizer.obs_dim + 2)
        draws = [torch.randn(shape, generator=generator, device=known.device) for _ in range(self.schedule.num_steps)]
        return torch.cat(draws, dim=1)

    def imagine_row(
        self, denoiser: RowwiseDenoiser, known: Tensor, observations: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reverse the noise of one transition from each state.

        Args:
            denoiser: Trained denoiser.
            known: What it remembers. Shape ``[B, 1, hidden_dim]``.
            observations: Raw observations. Shape ``[B, O]``.
            noise: Standard normal, of all steps. Shape ``[B, N, O + 2]``.

        Returns:
            Next observations ``[B, O]``, rewards ``[B]`` and scores of the end of the episode ``[B]``, in raw units.
        """
        sigmas, x0 = self.schedule.sigmas, None
        sample = math.hypot(1.0, sigmas[0]) * noise[:, :1]
        for index in range(self.schedule.num_steps):
            previous, x0 = x0, denoiser.denoise(sample, known, known.new_full((len(known), 1), sigmas[index]))
            mean, std = self.schedule.reverse_step(index, sample, x0, previous)
            if std > 0.0:
                sample = mean + std * noise[:, index + 1 : index + 2]
        assert x0 is not None
        return self.normalizer.decode_transition(x0[:, 0], observations)
