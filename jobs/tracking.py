"""`--mlflow`: a prepared dataset in the experiments that will train on it.

Trade-off: MLflow is looked at twice. Before the run, whether its package is there and understands
the address, without asking the server; after it, when the dataset is published, everything is
logged. A server that fails then costs a warning: the dataset is there, and the same command, which
has nothing else to do, logs it again.

Names of metrics are ours alone. Class names, which are text of users, are in the artifacts.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from engine.errors import UsageError
from jobs.console import say

__all__ = ["Tracking", "mlflow_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_EXPERIMENT = "sam2prep"
_LONGEST = 500  # characters of a parameter: what is longer is known by its digest
_ADVICE = "give a URL, or leave it out to use MLFLOW_TRACKING_URI, and put it after SRC and OUT"


def mlflow_option(command: _Command) -> _Command:
    """Add --mlflow, with or without an address."""
    return click.option(
        "--mlflow", metavar="[URI]", is_flag=False, flag_value="",
        help="Log figures, the digest of the manifest, summary.json and validation.json to MLflow: "
        "at URI, or at MLFLOW_TRACKING_URI. A server that fails afterwards is a warning and does "
        "not change the exit code. Experiment: MLFLOW_EXPERIMENT_NAME, default sam2prep.",
    )(command)  # fmt: skip


class Tracking:
    """Where a run is to be logged.

    Args:
        uri: of the tracking server; "" for the environment's; None: nothing is logged.

    Raises:
        UsageError: the package is missing, or it does not understand the address.
    """

    def __init__(self, uri: str | None) -> None:
        self._uri = uri
        self._client: Any = None
        if uri is None:
            return
        if uri and ":" not in uri and uri != "databricks":  # an export that it was put before
            raise UsageError(
                "--mlflow", "not understood", got=repr(uri), expected="a URL", advice=_ADVICE
            )
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise UsageError(
                "--mlflow", "MLflow is not installed", advice="pip install sam2prep[mlflow]"
            ) from error
        try:
            self._client = MlflowClient(tracking_uri=uri or None)
        except MlflowException as error:
            raise UsageError("--mlflow", "MLflow refuses it", got=self._bare(error)) from error

    def log(self, out: str, summary: Mapping[str, Any]) -> None:
        """Log what came of a run; a failure is a line on standard error.

        Args:
            out: the dataset's place.
            summary: of the run.
        """
        if self._client is None:
            return
        from mlflow.exceptions import MlflowException

        try:
            self._log(out, summary)
        except (MlflowException, OSError) as error:
            say(
                f"sam2prep: warning: not logged to MLflow: {self._bare(error)}; the result is "
                "there, and the same command logs it again",
                err=True, limit=1000, level="warning",
            )  # fmt: skip

    def _log(self, out: str, summary: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        from engine.manifest import read_json, read_manifest
        from engine.storage import join, read_bytes
        from engine.version import VERSION

        failed = summary["status"] == "FAILED"
        report = summary.get("report", join(out, "report"))
        place = join(report, "validation.json")
        document = read_json(place)
        tags = {"status": summary["status"], "version": VERSION, "command": "prepare"}
        if summary.get("history"):
            tags["command"] = summary["history"][-1]["command"]
        config: Mapping[str, Any] = {}  # that of a dataset: a run that failed made none
        if not failed:
            manifest = read_manifest(out)
            config, tags["manifest_digest"] = manifest["config"], manifest["digest"]
        now = time.time_ns() // 1_000_000
        run = self._client.create_run(self._experiment()).info.run_id
        self._client.log_batch(
            run,
            metrics=[Metric(k, float(v), now, 0) for k, v in _figures(summary, document).items()],
            params=[Param(k, v) for k, v in _parameters(config).items()],
            tags=[RunTag(f"sam2prep.{k}", v) for k, v in tags.items()],
        )
        shown = json.dumps(dict(summary), indent=2, ensure_ascii=False)
        self._client.log_text(run, shown, "summary.json")
        self._client.log_text(run, read_bytes(place).decode(), "validation.json")
        self._client.set_terminated(run, "FAILED" if failed else "FINISHED")

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _bare(self, error: Exception) -> str:
        """An error's text without the address, which may hold a password."""
        text = " ".join(str(error).split())
        return text.replace(self._uri.rstrip("/"), "URI") if self._uri else text


def _figures(summary: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a run, by names of our own."""
    figures: dict[str, float] = {"total_samples": summary["total_samples"]}
    figures |= {f"splits/{name}": size for name, size in summary["splits"].items()}
    figures |= {f"seconds/{stage}": value for stage, value in summary["timings"].items()}
    figures |= {
        f"accounting/{name}": value
        for name, value in (summary["accounting"] or {}).items()
        if isinstance(value, int)
    }
    figures |= {f"findings/{each['code']}": each["count"] for each in document["findings"]}
    return figures | {"classes": len(summary["classes"])}


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in config.items()
    }
    return {
        name: text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()
        for name, text in texts.items()
    }
