"""A study of the toy, which trains in a moment."""

from __future__ import annotations

from typing import Any

from tests.conftest import PROJECT

TOY = str(PROJECT / "tests" / "conf" / "toy.yaml")


def toy_study(**changes: Any) -> dict[str, Any]:
    """Two methods that differ in a number, one seed, judged in the unchanged world."""
    return {
        "methods": {"slow": {"configs": [TOY]}, "fast": {"configs": [TOY], "settings": {"model.init_args.alpha": 0.5}}},
        "tasks": {"swing": {"env_id": "Pendulum-v1"}},
        "seeds": "0",
        "evaluation": {"suite": "nominal", "episodes": 2},
        "output": "study",
        **changes,
    }
