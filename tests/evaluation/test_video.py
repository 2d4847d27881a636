"""A film shows the episode that the evaluation ran; where nothing can be drawn a sentence says what to install."""

import io

import numpy as np
import pytest
from PIL import Image

from rrl.evaluation.cells.conditions import Condition
from rrl.evaluation.episodes import Trial
from rrl.evaluation.video import VideoError, film, record
from tests.evaluation.controllers import TASK, balance, limp

TRIAL = Trial(TASK, 1)


@pytest.mark.mujoco
def test_the_positions_are_those_of_the_episode():
    stands = record(balance, TRIAL, Condition())
    assert stands.positions.shape == (1000, 2)
    assert stands.step_seconds == pytest.approx(0.04)
    assert stands.model_path.name == "inverted_pendulum.xml"
    assert np.abs(stands.positions[:, 1]).max() < 0.2
    assert (stands.episode.total, stands.episode.failed) == (1000.0, False)
    falls = record(limp(), TRIAL, Condition())
    assert len(falls.positions) == falls.episode.length < 1000
    np.testing.assert_array_equal(falls.positions[0], stands.positions[0])


@pytest.mark.mujoco
def test_films_go_on_in_step_and_what_has_ended_stays_pale_and_the_last_picture_stays():
    try:
        films = film({"falls": limp(), "stands": balance}, TRIAL, Condition())
    except VideoError as error:
        pytest.skip(str(error))
    pictures = [Image.open(io.BytesIO(each.image)) for each in films.values()]
    assert [milliseconds(picture) for picture in pictures] == [63 * 80 + 1500] * 2  # every second step of 0.04 s in 5 s
    assert films["falls"].episode.failed
    assert films["stands"].seconds == pytest.approx(40.0)
    pale, vivid = (brightness(picture, picture.n_frames - 1) for picture in pictures)
    assert pale > vivid + 50.0
    assert sum(len(each.image) for each in films.values()) < 500_000


@pytest.mark.mujoco
def test_a_film_that_falls_last_ends_pale_too():
    try:
        (fall,) = film({"falls": limp()}, TRIAL, Condition()).values()
    except VideoError as error:
        pytest.skip(str(error))
    picture = Image.open(io.BytesIO(fall.image))
    assert brightness(picture, picture.n_frames - 1) > brightness(picture, picture.n_frames - 2) + 50.0


def milliseconds(picture):
    """How long a film takes; equal frames may have become one."""
    total = 0
    for frame in range(picture.n_frames):
        picture.seek(frame)
        picture.load()
        total += picture.info["duration"]
    return total


def brightness(picture, frame):
    picture.seek(frame)
    return np.asarray(picture.convert("L"), dtype=np.float64).mean()


@pytest.mark.mujoco
def test_where_nothing_can_be_drawn_a_sentence_helps(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(VideoError, match="drawing needs EGL or OSMesa; `apt-get install libegl1`"):
        film({"balance": balance}, TRIAL, Condition())
