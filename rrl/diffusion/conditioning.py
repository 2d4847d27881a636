"""Condition a trajectory on the state in which it starts."""

from __future__ import annotations

from torch import Tensor


def apply_conditioning(trajectories: Tensor, start_features: Tensor) -> Tensor:
    """Pin the observation part of row 0 of every trajectory.

    The start state is known, so it is written into the noisy trajectory before the network sees it and into the
    prediction afterwards; only the reward and the end-of-episode channel of row 0 stay free. Trajectories hold
    differences from the start (see ``TrajectoryNormalizer``), so in this package ``start_features`` are zeros.

    Args:
        trajectories: Trajectories on the scale of the model, observations first. Shape ``[B, H, D]``.
        start_features: What row 0 shall contain. Shape ``[B, O]`` or ``[O]``, with ``O <= D``.

    Returns:
        A new tensor of shape ``[B, H, D]``, equal to ``start_features`` in row 0 to the bit; differentiable.

    Raises:
        ValueError: If ``start_features`` has more features than a row.

    Example:
        >>> import torch
        >>> apply_conditioning(torch.ones(1, 2, 3), torch.zeros(1))
        tensor([[[0., 1., 1.],
                 [1., 1., 1.]]])

    References:
        Janner et al., "Planning with diffusion for flexible behavior synthesis", ICML 2022, section 3.3. Unlike there,
        the network is trained with the pinned row, so it is a conditional model and not an in-painted one.
    """
    obs_dim = start_features.shape[-1]
    if obs_dim > trajectories.shape[-1]:
        raise ValueError(f"`start_features` may have at most {trajectories.shape[-1]} features, got {obs_dim}.")
    pinned = trajectories.clone()
    pinned[:, 0, :obs_dim] = start_features
    return pinned
