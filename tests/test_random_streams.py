from itertools import product

import numpy as np
import pytest
import torch

from rrl.random_streams import Purpose, derived_seed, numpy_stream, seeded_globally, torch_stream


def first_draws(streams):
    return [tuple(stream.integers(2**63, size=2)) for stream in streams]


def test_streams_of_all_purposes_seeds_and_worlds_are_pairwise_distinct():
    keys = list(product(Purpose, [0, 1, 2, 2**32 - 1, 2**32, 2**40], range(4)))
    draws = first_draws(numpy_stream(purpose, seed, world) for purpose, seed, world in keys)
    assert len(set(draws)) == len(keys)


def test_a_stream_without_index_differs_from_that_of_index_zero_and_both_from_two_zeros():
    draws = first_draws(numpy_stream(Purpose.WORLD, 0, *index) for index in [(), (0,), (0, 0)])
    assert len(set(draws)) == 3


def test_torch_streams_of_purposes_seeds_and_ranks_are_pairwise_distinct():
    keys = list(product(Purpose, range(3), range(4)))
    draws = [tuple(torch.rand(2, generator=torch_stream(*key)).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)


def test_seeds_of_derived_parts_lead_to_streams_that_no_run_has():
    runs = {tuple(numpy_stream(Purpose.WORLD, seed, world).random(2)) for seed, world in product(range(5), range(32))}
    lookers = [Purpose.NOMINAL_EVALUATION, Purpose.CHECKPOINT_EVALUATION, Purpose.ATTACK_EVALUATION, Purpose.REPLAY]
    seeds = [derived_seed(purpose, seed) for purpose, seed in product(lookers, range(5))]
    evaluations = {
        tuple(numpy_stream(Purpose.WORLD, seed, world).random(2)) for seed, world in product(seeds, range(32))
    }
    assert len(seeds) == len(set(seeds)) == 20
    assert len(evaluations) == 20 * 32
    assert not runs & evaluations


@pytest.mark.parametrize("bits", [8, 31, 63])
def test_a_derived_seed_has_so_many_bits(bits):
    seeds = [derived_seed(Purpose.WORLD, seed, bits=bits) for seed in range(200)]
    assert 2 ** (bits - 1) <= max(seeds) < 2**bits


def test_the_same_name_is_the_same_stream():
    first, second = (numpy_stream(Purpose.PUSH, 3, 1).random(4) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        numpy_stream(Purpose.WORLD, -1)


def test_seeding_globally_leaves_the_global_stream_as_it_was():
    torch.manual_seed(5)
    before = torch.rand(2)
    torch.manual_seed(5)
    with seeded_globally(Purpose.ADVERSARY_NETWORK, 5):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), before)
    assert not torch.equal(inside, before)
