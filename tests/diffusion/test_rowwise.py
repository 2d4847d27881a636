"""Imagining row after row: on-policy exactly, and each row from clean ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rrl.diffusion import DDPM, FewStep, Reparameterized, RowwiseGRU, RowwiseSampler
from rrl.types import WindowBatch
from tests.diffusion.oracles import unit_normalizer

HORIZON = 4


class Exact(nn.Module):
    """Knows a world without noise, in which the state moves by half of the action; the reward is the state."""

    def remember(self, rows: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return rows, rows

    def denoise(self, noisy: Tensor, known: Tensor, sigma: Tensor) -> Tensor:
        state, action = known.unbind(-1)
        return torch.stack([0.5 * action, state, torch.full_like(state, -1.0)], dim=-1)


def steep_policy(observations: Tensor) -> tuple[Tensor, Tensor]:
    return -3.0 * observations, torch.full_like(observations, 0.1)


@pytest.mark.parametrize("schedule", [FewStep(steps=3).build(), DDPM(length=4).build()], ids=["few", "ddpm"])
def test_what_is_imagined_is_what_the_policy_would_have_done_in_an_exact_model(schedule):
    start = torch.linspace(-0.3, 0.3, 50)[:, None]
    imagined = RowwiseSampler(schedule, unit_normalizer(HORIZON, 1)).sample(
        Exact(), steep_policy, start, policy_guidance=Reparameterized(), generator=torch.Generator().manual_seed(0)
    )
    mean, std = steep_policy(imagined.observations)
    torch.testing.assert_close(imagined.actions, mean + std * imagined.deviations)
    torch.testing.assert_close(imagined.observations.diff(dim=1), 0.5 * imagined.actions[:, :-1].clamp(-1.0, 1.0))
    torch.testing.assert_close(imagined.rewards[:, :-1], imagined.observations[:, :-1, 0])
    assert (imagined.ended[:, :-1] == -1.0).all()
    assert 0.9 < imagined.deviations.std() < 1.1


def test_no_row_sees_a_later_one():
    torch.manual_seed(0)
    denoiser = RowwiseGRU(width=8, hidden_dim=8).build(2, 1, HORIZON)
    nn.init.normal_(denoiser.output.weight)
    rows, noisy, sigma = torch.randn(1, 3, 3), torch.randn(1, 3, 4), torch.ones(1, 3)
    jacobian = torch.autograd.functional.jacobian(
        lambda given: denoiser.denoise(noisy, denoiser.remember(given)[0], sigma)[0], rows
    )[:, :, 0]
    reach = jacobian.abs().sum(dim=(1, 3))
    assert (reach.triu(1) == 0.0).all()
    assert (reach.tril() + torch.ones(3, 3).triu(1) > 0.0).all()


def test_remembering_row_by_row_is_remembering_all_at_once():
    torch.manual_seed(0)
    denoiser, rows, memory, known = (
        RowwiseGRU(width=8, hidden_dim=8).build(2, 1, HORIZON),
        torch.randn(5, 3, 3),
        None,
        [],
    )
    for row in rows.split(1, dim=1):
        part, memory = denoiser.remember(row, memory)
        known.append(part)
    torch.testing.assert_close(torch.cat(known, dim=1), denoiser.remember(rows)[0])


def test_what_was_not_observed_is_not_learnt():
    torch.manual_seed(0)
    denoiser, normalizer = RowwiseGRU(width=8, hidden_dim=8).build(1, 1, HORIZON), unit_normalizer(HORIZON, 1)
    valid = torch.tensor([[True, True, False, False]])
    observations = torch.tensor([[[0.0], [1.0], [1.5], [1.5]]])

    def loss(rewards: list[float]) -> Tensor:
        windows = WindowBatch(observations, torch.zeros(1, 4, 1), torch.tensor([rewards]), ~valid & False, valid)
        stream = torch.Generator().manual_seed(0)
        return denoiser.loss(windows, normalizer, torch.zeros(1, 0), FewStep(steps=4).build(), stream)

    assert loss([1.0, 2.0, 0.0, 0.0]) == loss([1.0, 2.0, 9.0, 9.0])
    assert loss([1.0, 2.0, 0.0, 0.0]) != loss([1.0, 9.0, 0.0, 0.0])
