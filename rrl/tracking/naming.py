"""Names of runs and of their parameters."""

from __future__ import annotations

import time
import uuid
from typing import Any


def new_run_name(class_path: str, env_id: str, seed: int) -> str:
    """Make a name that says what runs and that no other run has.

    Args:
        class_path: Class of the algorithm.
        env_id: Environment id; may be empty.
        seed: Seed of the run.

    Returns:
        Algorithm, environment, seed, date and time, and four random digits, all usable in a file name.
    """
    algorithm = class_path.rpartition(".")[2].lower()
    environment = env_id.rpartition("/")[2].partition("-")[0].lower()
    # uuid4 draws from the operating system, so two runs with the same seed still get different names.
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    return "-".join(part for part in (algorithm, environment, f"s{seed}", unique) if part)


def flatten_config(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn a nested configuration into named parameters.

    Args:
        config: Configuration as LightningCLI holds it.
        prefix: Prepended to all names.

    Returns:
        Values by dotted name; classes stand under the name of their section and ``init_args`` is left out.

    Example:
        >>> flatten_config({"model": {"class_path": "rrl.TRPO", "init_args": {"gamma": 0.99}}, "seed": 1})
        {'model': 'rrl.TRPO', 'model.gamma': 0.99, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = prefix + ("" if key in {"class_path", "init_args"} else key)
        if isinstance(value, dict):
            flat |= flatten_config(value, name if key == "init_args" else f"{name}.")
        elif value is not None:
            flat[name.rstrip(".")] = value
    return flat
