"""Policies of Stable-Baselines3 and sb3-contrib, read from the zip files that their algorithms save."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrl.checkpoints import CheckpointError
from rrl.evaluation.episodes import BatchPolicy

Array = NDArray[np.float64]


FIND = "find"
"""In place of a file of statistics: the one beside the policy, if there is one."""
CHECKPOINT = re.compile(r"(.+)_(\d+)_steps")
"""Name of what the ``CheckpointCallback`` saves."""


class SB3Policy(NamedTuple):
    """What a zip file holds."""

    policy: BatchPolicy
    """Takes the deterministic action, of normalised observations where there are statistics."""
    seed: int | None
    """Training seed, where the file knows it."""
    num_steps: int
    """Environment steps of the training."""
    note: str
    """Which statistics normalise its observations, as a sentence."""


def load_sb3_policy(path: Path, normalization: str | None = FIND) -> SB3Policy:
    """Load a policy that Stable-Baselines3 or sb3-contrib has saved.

    The algorithm need not be known: the file names the class of its policy. ``normalization`` is the file of the
    statistics of its ``VecNormalize``, None for none; see :func:`find_statistics` for where they are looked for.

    Both files are pickles, and reading a pickle can run any code: load only what you trust. Missing packages, a damaged
    file, or spaces that are not flat boxes are a CheckpointError.
    """
    try:
        import sb3_contrib  # noqa: F401  (its policies must be importable when the file names them)
        from stable_baselines3.common.save_util import load_from_zip_file
    except ImportError as error:
        raise CheckpointError(
            f"{path} is a policy of Stable-Baselines3, which is not installed; `pip install sb3-contrib` installs it."
        ) from error
    try:
        loaded: Any = load_from_zip_file(path, device="cpu")
        data: dict[str, Any] = dict(loaded[0])  # nothing at all where there is no such entry in the file
        network = _build_network(data, loaded[1]["policy"])
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{path} needs the module {error.name}, which is not installed here.") from error
    except Exception as error:  # whatever a foreign or damaged file leads to
        raise CheckpointError(f"{path} is not a policy of Stable-Baselines3, or is damaged.") from error
    for name in ("observation_space", "action_space"):
        if len(getattr(data[name], "shape", None) or ()) != 1:
            raise CheckpointError(f"{path} needs flat observations and continuous actions, its {name} is {data[name]}.")
    file = find_statistics(path) if normalization == FIND else normalization and Path(normalization)
    statistics = _load_statistics(file) if file else None

    def act(observations: Array) -> Array:
        seen = observations if statistics is None else statistics.normalize_obs(observations)
        actions, _ = network.predict(np.asarray(seen, dtype=np.float32), deterministic=True)
        return np.asarray(actions, dtype=np.float64)

    return SB3Policy(act, data.get("seed"), int(data.get("num_timesteps", 0)), _note(path, file or None))


def find_statistics(path: Path) -> Path | None:
    """Find the statistics of ``VecNormalize`` that belong to a policy; None where there are none.

    The names are those of Stable-Baselines3's documentation, its ``CheckpointCallback``, its RL Zoo, our benchmarks:
    beside ``name.zip`` it is ``name.pkl``, ``name_vecnormalize.pkl``, for ``x_100_steps.zip`` also
    ``x_vecnormalize_100_steps.pkl``, then ``vec_normalize.pkl``, ``vecnormalize.pkl``, ``name/vecnormalize.pkl``, and
    at last the only ``*/vecnormalize.pkl``. Several of the latter are a CheckpointError.
    """
    stem, folder = path.stem, path.parent
    names = [f"{stem}.pkl", f"{stem}_vecnormalize.pkl", f"{stem}_vec_normalize.pkl"]
    if saved := CHECKPOINT.fullmatch(stem):
        names.append(f"{saved[1]}_vecnormalize_{saved[2]}_steps.pkl")
    names += ["vec_normalize.pkl", "vecnormalize.pkl", f"{stem}/vecnormalize.pkl"]
    if found := [folder / name for name in names if (folder / name).is_file()]:
        return found[0]
    below = sorted(folder.glob("*/vecnormalize.pkl"))
    if len(below) > 1:
        raise CheckpointError(
            f"{path} may have been trained with any of {[str(file) for file in below]}; say with which: "
            f"{{zip: {path}, normalization: ...}}."
        )
    return below[0] if below else None


def _note(path: Path, file: Path | None) -> str:
    """Say which statistics were used, and which lie there that no policy of the folder uses."""
    own = {CHECKPOINT.sub(r"\1_vecnormalize_\2_steps", each.stem) for each in path.parent.glob("*.zip")}
    own |= {f"{each.stem}{end}" for each in path.parent.glob("*.zip") for end in ("", "_vecnormalize")}
    near = sorted(each.name for each in path.parent.glob("*.pkl") if each != file and each.stem not in own)
    used = f"observations are normalised with {file}" if file else "no statistics of a VecNormalize are used"
    return f"{path}: {used}{'; beside it, and not used: ' + ', '.join(near) if near else ''}."


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


def _load_statistics(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            statistics = pickle.load(stream)
        statistics.normalize_obs  # noqa: B018
    except OSError as error:
        raise CheckpointError(f"The statistics {file} cannot be read ({error.strerror}).") from error
    except Exception as error:
        raise CheckpointError(f"{file} does not hold the statistics of a VecNormalize.") from error
    return statistics
