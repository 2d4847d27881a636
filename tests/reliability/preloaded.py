"""What every training loads, loaded once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

import matplotlib.pyplot  # noqa: F401
import mlflow  # noqa: F401
import mlflow.tracking._tracking_service.utils  # noqa: F401
import mujoco.batch  # noqa: F401
import scipy.stats  # noqa: F401
import torch

import train  # noqa: F401

torch.set_num_threads(1)
