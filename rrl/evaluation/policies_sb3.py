"""Policies of Stable-Baselines3 and sb3-contrib, read from the zip files that their algorithms save."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.checkpoints import CheckpointError
from rrl.evaluation.episodes import BatchPolicy

Array = NDArray[np.float64]


class SB3Policy(NamedTuple):
    """What a zip file holds."""

    policy: BatchPolicy
    """Takes the deterministic action, of normalised observations where statistics lie beside the file."""
    seed: int | None
    """Training seed, where the file knows it."""
    num_steps: int
    """Environment steps of the training."""


def load_sb3_policy(path: Path) -> SB3Policy:
    """Load a policy that Stable-Baselines3 or sb3-contrib has saved.

    The algorithm need not be known: the file names the class of its policy. Statistics of ``VecNormalize`` are read
    from ``<stem>.pkl``, ``<stem>_vecnormalize.pkl`` or ``vecnormalize.pkl`` beside it, the first that is there.

    Both files are pickles, and reading a pickle can run any code: load only what you trust. Missing packages, a damaged
    file, or spaces that are not flat boxes are a CheckpointError.
    """
    try:
        import sb3_contrib  # noqa: F401  (its policies must be importable when the file names them)
        from stable_baselines3.common.save_util import load_from_zip_file
    except ImportError as error:
        raise CheckpointError(
            f"{path} is a policy of Stable-Baselines3, which is not installed; `pip install 'rrl[sb3]'` installs it."
        ) from error
    try:
        loaded: Any = load_from_zip_file(path, device="cpu")
        data: dict[str, Any] = dict(loaded[0])  # nothing at all where there is no such entry in the file
        network = _build_network(data, loaded[1]["policy"])
    except Exception as error:  # whatever a foreign or damaged file leads to
        raise CheckpointError(f"{path} is not a policy of Stable-Baselines3, or is damaged.") from error
    for name in ("observation_space", "action_space"):
        if len(getattr(data[name], "shape", None) or ()) != 1:
            raise CheckpointError(f"{path} needs flat observations and continuous actions, its {name} is {data[name]}.")
    statistics = _load_statistics(path)

    def act(observations: Array) -> Array:
        seen = observations if statistics is None else statistics.normalize_obs(observations)
        actions, _ = network.predict(np.asarray(seen, dtype=np.float32), deterministic=True)
        return np.asarray(actions, dtype=np.float64)

    return SB3Policy(act, data.get("seed"), int(data.get("num_timesteps", 0)))


def _build_network(data: dict[str, Any], state: dict[str, Any]) -> Any:
    """Build the policy as its algorithm does, and give it its parameters."""
    options = dict(data.get("policy_kwargs") or {})
    if data.get("use_sde"):
        options.setdefault("use_sde", True)
    # The schedule is for an optimiser that never steps.
    network = data["policy_class"](data["observation_space"], data["action_space"], lambda progress: 0.0, **options)
    network.load_state_dict(state)
    network.set_training_mode(False)
    return network


def _load_statistics(path: Path) -> Any | None:
    names = [f"{path.stem}.pkl", f"{path.stem}_vecnormalize.pkl", "vecnormalize.pkl"]
    found = [path.with_name(name) for name in names if path.with_name(name).is_file()]
    if not found:
        return None
    try:
        with found[0].open("rb") as file:
            statistics = pickle.load(file)
        statistics.normalize_obs  # noqa: B018
    except Exception as error:
        raise CheckpointError(f"{found[0]} does not hold the statistics of a VecNormalize.") from error
    return statistics
