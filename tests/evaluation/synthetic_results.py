"""Made-up but plausible results: five methods on a mass x friction grid, one-dimensional sweeps and attacks."""

from __future__ import annotations

import itertools
import math

import numpy as np

from rrl.evaluation.rows import CellResult
from rrl.evaluation.store import to_frame

METHODS = {  # nominal return, width in log factors within which it is kept, height when lost, harm of an attack
    "TRPO": (3100.0, 0.16, 350.0, 0.75),
    "Domain randomisation": (2700.0, 0.42, 700.0, 0.55),
    "RARL": (2950.0, 0.30, 500.0, 0.35),
    "RC-RARL": (3050.0, 0.38, 650.0, 0.25),
    "AD-RRL": (2850.0, 0.40, 900.0, 0.45),
}
SWEEPS = {
    "mass": ("physics", np.linspace(0.5, 1.5, 11)),
    "friction": ("physics", np.linspace(0.5, 1.5, 11)),
    "gravity": ("physics", np.linspace(0.5, 1.5, 11)),
    "observation noise": ("noise", np.linspace(0.0, 0.2, 5)),
    "action delay": ("noise", np.arange(0.0, 4.0)),
    "push random": ("push", np.array([0.0, 2.5, 5.0, 10.0, 20.0])),
}
ATTACKS = (("zero", 0.0), *itertools.product(("random", "step", "random_step", "strongest"), (1.25, 5.0, 10.0)))


def cell_result(**changes) -> CellResult:
    """A row in which only the given columns matter."""
    row = {
        "method": "TRPO",
        "policy": "runs/trpo-s0/last.ckpt",
        "train_seed": 0,
        "env_id": "Hopper-v5",
        "suite": "fraction",
        "sweep": "mass",
        "cell": "mass=1",
        "kind": "physics",
        "axis_1": "mass",
        "value_1": 1.0,
        "axis_2": "",
        "value_2": math.nan,
        "episodes": 10,
        "return_mean": 1000.0,
        "return_std": 10.0,
        "return_worst": 900.0,
        "length_mean": 1000.0,
        "failure_rate": 0.0,
        "forward_distance": 5.0,
        "seconds": 0.25,
    }
    return CellResult(**(row | changes))


def table(rows):
    """The rows as the report sees them."""
    return to_frame(rows)


def synthetic_results(num_seeds: int = 3, methods=METHODS) -> list[CellResult]:
    """Rows of a whole evaluation of all methods."""
    generator = np.random.default_rng(0)
    return [
        row
        for method, seed in itertools.product(methods, range(num_seeds))
        for row in policy_results(method, seed, methods[method], generator)
    ]


def policy_results(method, seed, shape, generator) -> list[CellResult]:
    """Rows of one policy whose return falls off around the nominal world."""
    nominal, width, floor, harm = shape
    nominal *= 1.0 + 0.06 * generator.standard_normal()
    width *= math.exp(0.15 * generator.standard_normal())

    def row(shift: float, **columns) -> CellResult:
        kept = math.exp(-0.5 * (shift / width) ** 2)
        mean = floor + (nominal - floor) * kept + 25.0 * generator.standard_normal()
        return cell_result(
            method=method,
            policy=f"runs/{method.lower().replace(' ', '-')}-hopper-s{seed}/checkpoints/last.ckpt",
            train_seed=seed,
            return_mean=mean,
            return_worst=0.7 * mean,
            length_mean=200.0 + 800.0 * kept,
            failure_rate=1.0 - kept,
            forward_distance=max(mean - 900.0, 50.0) / 250.0,
            **columns,
        )

    rows = [row(0.0, sweep="nominal", cell="nominal", kind="nominal", axis_1="", value_1=math.nan)]
    grid = np.linspace(0.5, 1.5, 11)
    rows += [
        row(
            math.hypot(math.log(mass), 0.7 * math.log(friction)),
            sweep="mass x friction",
            cell=f"mass={mass:g}, friction={friction:g}",
            value_1=float(mass),
            axis_2="friction",
            value_2=float(friction),
        )
        for mass, friction in itertools.product(grid, grid)
    ]
    for name, (kind, values) in SWEEPS.items():
        shifts = np.log(values) if kind == "physics" else 0.8 * values / values.max()
        rows += [
            row(
                float(shift),
                sweep=name,
                cell=f"{name} sweep: {name}={value:g}",
                kind=kind,
                axis_1=name.replace(" ", "_"),
                value_1=float(value),
            )
            for shift, value in zip(shifts, values, strict=True)
        ]
    rows += [
        row(
            harm
            * width
            * {"zero": 0.0, "random": 1.0, "step": 2.0, "random_step": 2.5, "strongest": 4.0}[attacker]
            * limit
            / 10.0,
            suite="attacks",
            sweep=attacker,
            cell=f"{attacker} {limit:g} N",
            kind="attack",
            axis_1="force limit",
            value_1=limit,
        )
        for attacker, limit in ATTACKS
    ]
    return rows
