"""The threshold of Algorithm 1 in its three readings."""

from typing import Any

import numpy as np
import pytest
import torch

from rrl.risk.return_threshold import ReturnThreshold


def test_there_is_no_threshold_before_the_window_is_full():
    threshold = ReturnThreshold("once", window=3)
    threshold.update(torch.tensor([1.0, 2.0]))
    assert threshold.threshold.isnan()


def test_once_keeps_the_percentile_of_the_first_full_window():
    threshold = ReturnThreshold("once", percentile=20, window=5)
    for value in [5.0, 1.0, 4.0, 2.0, 3.0, 100.0, 200.0]:
        threshold.update(torch.tensor([value]))
    assert float(threshold.threshold) == pytest.approx(np.percentile([5, 1, 4, 2, 3], 20))


def test_rolling_follows_the_last_window():
    threshold = ReturnThreshold("rolling", percentile=20, window=3)
    threshold.update(torch.tensor([1.0, 2.0, 3.0, 40.0, 50.0]))
    assert float(threshold.threshold) == pytest.approx(np.percentile([3, 40, 50], 20))


def test_batch_takes_the_latest_returns_alone():
    threshold = ReturnThreshold("batch", percentile=25)
    threshold.update(torch.tensor([1000.0]))
    threshold.update(torch.tensor([1.0, 2.0, 3.0]))
    assert float(threshold.threshold) == pytest.approx(1.5)
    threshold.update(torch.zeros(0))
    assert float(threshold.threshold) == pytest.approx(1.5)


def test_the_state_survives_a_checkpoint():
    threshold, copy = ReturnThreshold("rolling", window=3), ReturnThreshold("rolling", window=3)
    threshold.update(torch.tensor([1.0, 5.0]))
    copy.load_state_dict(threshold.state_dict())
    for each in (threshold, copy):
        each.update(torch.tensor([3.0]))
    assert float(copy.threshold) == float(threshold.threshold) == pytest.approx(np.percentile([1, 5, 3], 20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "never"}, "`mode` must be"),
        ({"percentile": 100.0}, "`percentile` must lie"),
        ({"window": 0}, "`window` must be at least 1"),
    ],
)
def test_bad_arguments_raise(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ReturnThreshold(**arguments)


def test_undefined_returns_raise():
    with pytest.raises(ValueError, match="`returns` must be finite"):
        ReturnThreshold().update(torch.tensor([float("nan")]))
