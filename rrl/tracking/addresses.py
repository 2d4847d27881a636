"""Where MLflow is: which addresses can work, and the databases behind them."""

from __future__ import annotations

import os
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rrl.tracking.outbox import first_line
from rrl.tracking.provenance import without_password

SQLITE = "sqlite:///"


def check_tracking_uri(**addresses: str) -> None:
    """Refuse addresses, by the name of their setting, at which there can be no MLflow, however long one waits."""
    for name, uri in addresses.items():
        if (reason := _objection(uri)) is not None:
            raise ValueError(
                f"`{name}` must be the address of a server (http://host:port) or of a database "
                f"(sqlite:///folder/mlflow.db), got {without_password(uri)!r}{reason}."
            )


def _objection(uri: str) -> str | None:
    """Say what is wrong with a tracking address, as ``": reason"`` or nothing but that; None if it may work."""
    scheme = uri.partition(":")[0].lower()
    try:
        if scheme in {"http", "https"}:
            parts = urlsplit(uri)
            return None if parts.hostname and parts.port != 0 and not re.search(r"\s", uri) else ""
        if scheme == "sqlite":
            path = database_path(uri)
            usable = uri.startswith(SQLITE) and path.name not in {"", ":memory:"}
            return ": that is a folder" if usable and path.is_dir() else None if usable else ""
        if scheme.partition("+")[0] in {"mysql", "postgresql", "mssql"}:
            import sqlalchemy

            sqlalchemy.create_engine(uri).dispose()  # which looks for the driver, and connects to nothing
            return None
    except Exception as error:  # ValueError of the port, ImportError of the driver, SQLAlchemy's own
        return f": {first_line(error)}".rstrip(".")
    if scheme == "file" or "://" not in uri:
        allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in {"true", "1"}
        return None if allowed or scheme == "databricks" else ": MLflow no longer writes to folders"
    known = {"databricks"} | {point.name for point in entry_points(group="mlflow.tracking_store")}
    return None if scheme in known else ""


def database_uri(path: Path) -> str:
    """Return the tracking address of an SQLite file."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def database_path(uri: str) -> Path:
    """Return the SQLite file at a tracking address."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def lacks_database(uri: str) -> bool:
    """Tell whether a tracking URI names an SQLite file that is not there: connecting would create it."""
    return uri.startswith(SQLITE) and not database_path(uri).is_file()


def runs_page(uri: str, experiment: str | None) -> str:
    """Tell how a person gets to see the runs of an experiment, by its id if it is known, at a tracking address.

    Example:
        >>> runs_page("http://ada:secret@mlflow.example.org", "3")
        'http://mlflow.example.org/#/experiments/3/runs?workflowType=machine_learning'
    """
    # MLflow's page opens in a view of language models, where runs like ours do not show; this address leads past it.
    place = "" if experiment is None else f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
    if uri.startswith("http"):
        return without_password(uri).rstrip("/") + place
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}   # then open http://127.0.0.1:5000{place}"
