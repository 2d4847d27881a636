"""Environments and wrappers by name: a user's own module is imported, an installed one only if it is listed."""

import sys

import gymnasium
import numpy as np
import pytest

from rrl.envs import make_vec_env
from rrl.envs.names import modules_of, refuse_unnamed, registered_id, require_registered
from tests.robots import FLATTEN, write_module

ONE_ARRAY = pytest.mark.filterwarnings("ignore:.*share an object")


@pytest.fixture
def module(tmp_path, monkeypatch):
    yield write_module(tmp_path, monkeypatch)
    for name in [name for name in gymnasium.registry if name.startswith("mine/")]:
        del gymnasium.registry[name]


@ONE_ARRAY
def test_an_environment_of_an_own_module_is_made_by_gymnasiums_form_of_its_name(module):
    envs = make_vec_env(f"{module}:mine/Robot-v0", 2, max_episode_steps=3)
    assert envs.reset()[0].shape == (2, 2)


def test_a_registered_name_stays_and_imports_nothing():
    assert registered_id("Hopper-v5") == "Hopper-v5"


def test_an_installed_module_must_be_listed(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(ValueError, match=r"must lie in a module of yours; list this in RRL_MODULES to allow it"):
        registered_id("this:mine/Robot-v0")
    assert "this" not in sys.modules


def test_a_listed_module_is_imported(module, monkeypatch):
    monkeypatch.setattr("rrl.envs.names.own_modules", lambda: {module})
    assert require_registered(f"{module}:mine/Robot-v0") == "mine/Robot-v0"


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("no_such_robots:mine/Robot-v0", "there is no no_such_robots"),
        ("my_robots:mine/Robott-v0", r"registered by the module my_robots, .*did you mean 'mine/Robot-v0'\?"),
    ],
)
def test_a_wrong_name_is_explained(module, env_id, message):
    with pytest.raises(ValueError, match=message):
        make_vec_env(env_id, 1)


def test_a_module_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_robots.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"importing broken_robots failed \(ZeroDivisionError: division by zero\)"):
        registered_id("broken_robots:mine/Robot-v0")


@ONE_ARRAY
def test_wrappers_apply_from_the_inside_out(module):
    own = f"{module}.Halving"
    plain = make_vec_env(f"{module}:mine/Nested-v0", 1, max_episode_steps=3, wrappers=FLATTEN)
    halved = make_vec_env(f"{module}:mine/Nested-v0", 1, max_episode_steps=3, wrappers=FLATTEN | {own: {}})
    np.testing.assert_array_equal(halved.reset()[0], plain.reset()[0] / 2.0)


def test_nested_observations_hint_at_the_wrapper_that_flattens_them(module):
    with pytest.raises(ValueError, match=r"must be a flat Box, got Dict.*gymnasium\.wrappers\.FlattenObservation"):
        make_vec_env(f"{module}:mine/Nested-v0", 1, max_episode_steps=3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gymnasium.wrappers.FlatenObservation", r"below gymnasium.Wrapper; did you mean FlattenObservation\?"),
        ("FlattenObservation", "by their path, such as gymnasium.wrappers.FlattenObservation"),
        ("os.system", "must be a class below gymnasium.Wrapper"),
        ("my_robots.Robot", "must be a class below gymnasium.Wrapper"),
        ("gymnasium.wrappers.RescaleAction", r"RescaleAction failed \(TypeError"),
    ],
)
def test_a_wrapper_that_is_none_is_named(module, path, message):
    with pytest.raises(ValueError, match=message):
        make_vec_env(f"{module}:mine/Robot-v0", 1, max_episode_steps=3, wrappers={path: None})


def test_native_tasks_take_no_wrappers():
    with pytest.raises(ValueError, match="`wrappers` are for environments that Gymnasium steps; Hopper-v5"):
        make_vec_env("Hopper-v5", 1, wrappers=FLATTEN)


def test_modules_of_a_file_are_refused_until_the_user_names_them(monkeypatch):
    modules = modules_of("far_robots:mine/Robot-v0", {"gymnasium.wrappers.FlattenObservation": None, "far.Wrap": None})
    assert modules == {"far_robots", "far"}
    with pytest.raises(ValueError, match=r"a\.ckpt was trained in an environment of the module far_robots"):
        refuse_unnamed({"far_robots"}, "a.ckpt")
    monkeypatch.setenv("RRL_MODULES", "far_robots")
    refuse_unnamed({"far_robots"}, "a.ckpt")
