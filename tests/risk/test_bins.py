"""Bins of equal width and equal mass."""

import pytest
import torch

from rrl.risk.bins import bin_index, equal_mass_edges, equal_width_edges


def test_the_edges_cover_the_unit_interval():
    for edges in (equal_width_edges(7), equal_mass_edges(torch.rand(50), 7)):
        assert (edges[0], edges[-1]) == (0.0, 1.0)
        assert (edges.diff() >= 0).all()


def test_a_bin_holds_its_upper_edge_and_the_first_one_zero():
    risk = torch.tensor([0.0, 0.25, 0.2501, 0.5, 0.75, 0.76, 1.0])
    assert bin_index(risk, equal_width_edges(4)).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_one_value_shared_by_all_falls_into_one_bin():
    risk = torch.full((10,), 0.3)
    assert bin_index(risk, equal_mass_edges(risk, 5)).unique().numel() == 1


@pytest.mark.parametrize("num_bins", [0, -3])
def test_without_bins_it_raises(num_bins: int):
    with pytest.raises(ValueError, match="`num_bins` must be at least 1"):
        equal_width_edges(num_bins)
