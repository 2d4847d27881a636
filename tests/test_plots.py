"""Figures show what they are given, with units on every axis."""

from __future__ import annotations

import math

import pytest
import torch

from rrl.plots import plot_imagined_returns, plot_learning_curve, plot_time_shares, save_figure


def test_learning_curve_draws_both_series_and_skips_what_is_not_finite():
    figure = plot_learning_curve({0: 1.0, 10: math.nan, 20: 3.0}, {20: 4.0})
    raw, _, evaluation = figure.axes[0].lines
    assert raw.get_xydata().tolist() == [[0.0, 1.0], [20.0, 3.0]]
    assert evaluation.get_xydata().tolist() == [[20.0, 4.0]]
    assert figure.axes[0].get_xlabel() == "real environment steps"
    assert "reward" in figure.axes[0].get_ylabel()


def test_imagined_returns_share_bins_and_state_their_means():
    figure = plot_imagined_returns(torch.zeros(10), torch.ones(10))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["unguided: mean 1, n = 10", "guided: mean 0, n = 10"]


def test_time_shares_add_up_to_the_whole():
    bars = plot_time_shares({"collect": 0.25, "update": 0.5}).axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([25.0, 50.0, 25.0])


def test_figure_is_written_with_its_folder(tmp_path):
    path = save_figure(plot_learning_curve({0: 1.0}, {}), tmp_path / "figures" / "curve.png")
    assert path.read_bytes().startswith(b"\x89PNG")
