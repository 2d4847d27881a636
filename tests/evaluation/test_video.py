"""A film shows the episode that the evaluation ran; where nothing can be drawn a sentence says what to install."""

import numpy as np
import pytest

from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.episodes import Trial
from rrl.evaluation.video import VideoError, film, record_positions
from tests.evaluation.controllers import TASK, balance, limp

TRIAL = Trial(TASK, 1)


@pytest.mark.mujoco
def test_the_positions_are_those_of_the_episode():
    positions, step_seconds, model_path = record_positions(balance, TRIAL, Condition())
    assert positions.shape == (1000, 2)
    assert step_seconds == pytest.approx(0.04)
    assert model_path.name == "inverted_pendulum.xml"
    assert np.abs(positions[:, 1]).max() < 0.2
    fallen, *_ = record_positions(limp(), TRIAL, Condition())
    assert len(fallen) < 1000
    np.testing.assert_array_equal(fallen[0], positions[0])


@pytest.mark.mujoco
def test_where_nothing_can_be_drawn_a_sentence_helps(tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(VideoError, match="drawing needs EGL or OSMesa; `apt-get install libegl1`"):
        film(balance, TRIAL, Condition(), tmp_path / "film.gif")
    assert not (tmp_path / "film.gif").exists()
