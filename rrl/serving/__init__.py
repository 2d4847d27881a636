"""The policy of a run as a model that MLflow loads and serves."""

from rrl.serving.model import ModelCallback, save_model

__all__ = ["ModelCallback", "save_model"]
