"""What a run leaves behind besides its checkpoints.

- ``logger``: MLflow as seen by a training run
- ``remote_run``: that run in MLflow, and the connection
- ``outbox``: delivery that survives an unreachable server
- ``provenance``: what identifies a run: name, parameters, commit and package versions
- ``figures``: the figures drawn at the end of a run
"""

from rrl.tracking.logger import ENV_STEPS, MLflowRunLogger

__all__ = ["ENV_STEPS", "MLflowRunLogger"]
