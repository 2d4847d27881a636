"""The scale of the model: round trips, masks and statistics."""

import math

import pytest
import torch

from rrl.diffusion.normalizer import SCALE_FLOOR, TrajectoryNormalizer
from rrl.types import WindowBatch


def make_windows(num_windows: int = 64, horizon: int = 4, obs_dim: int = 3, seed: int = 0) -> WindowBatch:
    """Random walks with large offsets; in every fourth window the episode ends after the second transition."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(num_windows, horizon, obs_dim, generator=generator) * torch.tensor([0.1, 1.0, 10.0])
    valid, terminated = torch.ones(num_windows, horizon).bool(), torch.zeros(num_windows, horizon).bool()
    valid[::4, 2:], terminated[::4, 1] = False, True
    return WindowBatch(
        observations=50.0 + steps.cumsum(dim=1),
        actions=torch.rand(num_windows, horizon, 2, generator=generator),
        rewards=(3.0 + 2.0 * torch.randn(num_windows, horizon, generator=generator)) * valid,
        terminated=terminated,
        valid=valid,
    )


def update(normalizer: TrajectoryNormalizer, windows: WindowBatch) -> None:
    normalizer.update(normalizer.statistics(windows))


def make_normalizer(horizon: int = 4, obs_dim: int = 3) -> TrajectoryNormalizer:
    return TrajectoryNormalizer(horizon, obs_dim, [-2.0, 0.0], [2.0, 1.0])


def test_round_trip():
    normalizer, windows = make_normalizer(), make_windows()
    update(normalizer, windows)
    observations, rewards, ended = normalizer.decode(normalizer.encode(windows), windows.observations[:, 0])
    torch.testing.assert_close(observations, windows.observations)
    torch.testing.assert_close(rewards, windows.rewards)
    assert torch.equal(ended > 0.0, windows.terminated)


def test_row_0_decodes_to_the_start_to_the_bit():
    normalizer = make_normalizer()
    update(normalizer, make_windows())
    start = torch.tensor([[0.1, -0.0, 1e-30]])
    decoded = normalizer.decode(torch.randn(1, 4, 5), start)[0][:, 0]
    assert torch.equal(decoded.view(torch.int32), start.view(torch.int32))


def test_observed_differences_have_unit_scale_per_row_and_feature():
    normalizer, windows = make_normalizer(), make_windows()
    update(normalizer, windows)
    x0, observed = normalizer.encode(windows), windows.observed[..., None]
    mean_square = (x0[..., :3].square() * observed).sum(0) / observed.sum(0)
    torch.testing.assert_close(mean_square[1:], torch.ones(3, 3))


def test_the_end_flag_is_not_standardised():
    normalizer, windows = make_normalizer(), make_windows()
    update(normalizer, windows)
    assert set(normalizer.encode(windows)[..., -1].unique().tolist()) == {-1.0, 1.0}


def test_padding_does_not_touch_the_statistics():
    windows = make_windows()
    spoilt = windows.observations.clone()
    spoilt[~windows.observed] = 1e6
    clean, other = make_normalizer(), make_normalizer()
    update(clean, windows)
    update(
        other,
        WindowBatch(spoilt, windows.actions, windows.rewards + 9.0 * ~windows.valid, windows.terminated, windows.valid),
    )
    assert torch.equal(clean.difference_scale, other.difference_scale)
    assert torch.equal(clean.reward_std, other.reward_std)


def test_summed_statistics_equal_one_large_update():
    parts = [make_windows(seed=seed) for seed in (0, 1)]
    together, summed = make_normalizer(), make_normalizer()
    for part in parts:
        update(together, part)
    summed.update(summed.statistics(parts[0]) + summed.statistics(parts[1]))
    for name, buffer in together.named_buffers():
        torch.testing.assert_close(buffer, summed.get_buffer(name))


def test_reward_statistics_count_valid_transitions_alone():
    normalizer, windows = make_normalizer(), make_windows()
    update(normalizer, windows)
    valid_rewards = windows.rewards[windows.valid]
    torch.testing.assert_close(normalizer.reward_mean, valid_rewards.mean())
    torch.testing.assert_close(normalizer.reward_std, valid_rewards.std(correction=0))


def test_constant_features_do_not_explode():
    normalizer, windows = make_normalizer(), make_windows()
    frozen = WindowBatch(
        torch.full_like(windows.observations, 7.0), windows.actions, windows.rewards, windows.terminated, windows.valid
    )
    update(normalizer, frozen)
    assert (normalizer.difference_scale == SCALE_FLOOR).all()
    assert normalizer.encode(frozen)[..., :3].abs().max() == 0.0
    assert torch.isfinite(normalizer.encode_start(windows.observations[:, 0])).all()


def test_rows_that_were_never_observed_keep_scale_1():
    normalizer, windows = make_normalizer(), make_windows()
    valid = windows.valid & (torch.arange(4) < 2)
    update(normalizer, WindowBatch(windows.observations, windows.actions, windows.rewards, windows.terminated, valid))
    assert (normalizer.difference_scale[3] == 1.0).all()


def test_mask_leaves_out_the_start_the_padding_and_invalid_transitions():
    windows = make_windows(num_windows=1)
    expected = torch.tensor([[0, 0, 0, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    assert torch.equal(make_normalizer().mask(windows), expected[None].float())


def test_start_features_are_standardised_and_clipped():
    normalizer, windows = make_normalizer(), make_windows()
    update(normalizer, windows)
    features = normalizer.encode_start(windows.observations[:, 0])
    torch.testing.assert_close(features.mean(0), torch.zeros(3), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0.0)
    assert (normalizer.encode_start(torch.full((1, 3), 1e9)) == 10.0).all()


def test_actions_are_clipped_to_the_box_and_scaled():
    encoded = make_normalizer().encode_actions(torch.tensor([[-2.0, 0.5], [9.0, -9.0]]))
    assert torch.equal(encoded, torch.tensor([[-1.0, 0.0], [1.0, -1.0]]))


@pytest.mark.parametrize(("low", "high"), [([-math.inf], [1.0]), ([0.0], [math.inf]), ([1.0], [1.0])])
def test_unbounded_or_empty_action_boxes_raise(low: list[float], high: list[float]):
    with pytest.raises(ValueError, match="`action_low` and `action_high` must be finite, low < high"):
        TrajectoryNormalizer(4, 3, low, high)


def test_statistics_survive_a_checkpoint():
    normalizer, restored = make_normalizer(), make_normalizer()
    update(normalizer, make_windows())
    restored.load_state_dict(normalizer.state_dict())
    update(normalizer, make_windows(seed=1))
    update(restored, make_windows(seed=1))
    assert torch.equal(normalizer.difference_scale, restored.difference_scale)
