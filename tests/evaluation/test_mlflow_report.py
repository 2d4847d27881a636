"""Reports reach MLflow beneath the training runs, and nothing there can stop an evaluation."""

from __future__ import annotations

import math

import pytest

from rrl.evaluation.mlflow_report import log_report, method_metrics
from rrl.evaluation.report_sources import PolicyOrigin, Provenance
from rrl.evaluation.robustness import summarize_methods, summarize_policies
from rrl.evaluation.robustness_report import write_report
from tests.evaluation.synthetic_results import cell_result


@pytest.fixture
def files(tmp_path):
    rows = [
        cell_result(method="A <x>", policy=f"p{seed}", train_seed=seed, cell=cell, kind=kind, return_mean=value)
        for seed in range(2)
        for cell, kind, value in (("nominal", "nominal", 100.0 + seed), ("m", "physics", 50.0 + seed))
    ]
    return write_report(rows, tmp_path / "report", provenance=Provenance("x", 0))


@pytest.fixture
def client(workdir):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri_of(workdir))
    client.create_experiment("training", artifact_location=(workdir / "mlruns").as_uri())
    return client


def uri_of(folder) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def origin(seed, run_id, uri) -> PolicyOrigin:
    return PolicyOrigin("A <x>", f"p{seed}", seed, env_steps=5000, run_id=run_id, tracking_uri=uri)


def test_each_policy_gets_a_child_of_its_training_run_with_its_numbers_and_all_files(files, client, workdir):
    training = client.get_experiment_by_name("training").experiment_id
    parents = [client.create_run(training).info.run_id for _ in range(2)]
    origins = tuple(origin(seed, run_id, uri_of(workdir)) for seed, run_id in enumerate(parents))
    sentences = log_report(files, Provenance("x", 0, origins))
    assert len(sentences) == 2
    for seed, parent in enumerate(parents):
        (child,) = client.search_runs([training], f"tags.`mlflow.parentRunId` = '{parent}'")
        assert child.info.status == "FINISHED"
        assert child.data.metrics["robustness/nominal"] == 100.0 + seed
        assert child.data.metrics["robustness/worst"] == 50.0 + seed
        assert "robustness/attack" not in child.data.metrics
        assert client.get_metric_history(child.info.run_id, "robustness/worst")[0].step == 5000
        assert any(child.info.run_id in sentence and parent in sentence for sentence in sentences)
        names = {item.path for item in client.list_artifacts(child.info.run_id)}
        assert names == {"report.html", "results.csv", "results.parquet", "policies.csv", "methods.csv", "figures"}
        assert client.list_artifacts(child.info.run_id, "figures")


def test_policies_without_a_run_share_one_of_their_own(files, client, workdir):
    (sentence,) = log_report(files, Provenance("x", 0))
    (run,) = client.search_runs([client.get_experiment_by_name("robustness").experiment_id])
    assert run.info.run_id in sentence
    assert run.data.metrics["robustness/A _x_/nominal"] == 100.5
    assert "mlflow.parentRunId" not in run.data.tags


def test_run_that_is_gone_is_a_sentence_and_the_next_policy_is_logged(files, client, workdir):
    parent = client.create_run(client.get_experiment_by_name("training").experiment_id).info.run_id
    origins = (origin(0, "0" * 32, uri_of(workdir)), origin(1, parent, uri_of(workdir)))
    gone, logged = log_report(files, Provenance("x", 0, origins))
    assert "does not know the run 000" in gone
    assert logged.startswith("Logged to MLflow run")


def test_missing_database_is_not_created(files, workdir):
    (workdir / "mlflow.db").unlink()
    origins = (origin(0, "0" * 32, f"sqlite:///{workdir}/other.db"),)
    sentences = log_report(files, Provenance("x", 0, origins))
    assert len(sentences) == 2
    assert all(sentence.startswith("Not logged: there is no database at") for sentence in sentences)
    assert not list(workdir.glob("*.db"))


def test_unreachable_server_is_asked_once_and_is_one_sentence(files, workdir, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    origins = tuple(origin(seed, "0" * 32, None) for seed in range(2))
    (sentence,) = log_report(files, Provenance("x", 0, origins))
    assert sentence.startswith("Not logged: http://127.0.0.1:9 cannot be reached (")


def test_metrics_are_finite_and_have_admissible_names():
    (method,) = summarize_methods(
        summarize_policies([cell_result(method="", kind="nominal", forward_distance=math.nan)])
    )
    assert method_metrics(method) == {"robustness/_/nominal": 1000.0}
