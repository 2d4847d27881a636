"""Reports are written whole, and reach MLflow beneath the training runs, where nothing can stop an evaluation."""

from __future__ import annotations

import csv
import math
import re

import pandas as pd
import pytest

from rrl.evaluation.report.page import PolicyOrigin, Provenance
from rrl.evaluation.report.summary import summarize
from rrl.evaluation.report.write import log_report, method_metrics, write_report
from rrl.evaluation.store import ResultStoreError
from tests.evaluation.synthetic_results import METHODS, cell_result, synthetic_results, table


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


def test_files_hold_all_rows_policies_and_methods(tmp_path):
    rows = synthetic_results()
    origin = PolicyOrigin("TRPO", "runs/trpo-hopper-s0/checkpoints/last.ckpt", 0, 1_234_567)
    files = write_report(rows, tmp_path / "new", provenance=Provenance("x", 0, (origin,)))
    written = pd.read_csv(files.csv, keep_default_na=False, na_values="nan")
    pd.testing.assert_frame_equal(written, table(rows), rtol=1e-14)
    pd.testing.assert_frame_equal(pd.read_parquet(files.parquet), table(rows), check_exact=True)
    policies = list(csv.DictReader(files.policies.read_text(encoding="utf-8").splitlines()))
    assert len(policies) == 15
    assert float(policies[0]["worst"]) == files.summary.policies.worst.iloc[0]
    assert float(policies[0]["training_steps"]) == 1_234_567
    assert policies[1]["training_steps"] == ""
    methods = list(csv.DictReader(files.methods.read_text(encoding="utf-8").splitlines()))
    assert [row["method"] for row in methods] == list(METHODS)
    assert float(methods[2]["iqm_low"]) == files.summary.methods.iqm_low.iloc[2]
    assert all(path.read_bytes().startswith(b"<?xml") for path in files.figures)


@pytest.mark.parametrize(
    ("rows", "baseline", "message"),
    [
        ([], None, "`rows` must hold at least one result, got none."),
        (
            [cell_result(), cell_result(env_id="Walker2d-v5")],
            None,
            "`rows` must be of one environment, since rewards differ in scale; got Hopper-v5, Walker2d-v5.",
        ),
        ([cell_result()], "PPO", "`baseline` must be one of the methods TRPO, got 'PPO'."),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, rows, baseline, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        write_report(rows, tmp_path, provenance=Provenance("x", 0), baseline=baseline)


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultStoreError, match=r"^The report in .*file cannot be written: Not a directory\.$"):
        write_report([cell_result()], tmp_path / "file", provenance=Provenance("x", 0))


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
    summary = summarize(table([cell_result(method="", kind="nominal", forward_distance=math.nan)]))
    assert method_metrics(summary.methods.loc[""]) == {"robustness/_/nominal": 1000.0}
