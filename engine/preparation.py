"""`prepare`: the whole way from exports to a dataset, and its commit.

Everything is written below `OUT/.staging`, the manifest too, and published when all of it is there
(`engine.publication`). Whatever dies before that leaves OUT as it was, and what it had done for the
same command to go on from (`engine.unfinished`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.arrivals import find_sources
from engine.config import SPLIT_KEYS, Config, Execution, records_of
from engine.damaged_images import brings_repaired, damaged_images
from engine.dataset_build import build
from engine.errors import ExportError, OutputError
from engine.intake import take_in
from engine.locations import Location, location_of
from engine.manifest import OutState, read_issues, read_json, read_manifest, state_of
from engine.outcome import Outcome
from engine.publication import sweep, writing
from engine.storage import file_name, join
from engine.survey import digests_of
from engine.unfinished import RunInProgress, forget_tasks, run_record
from engine.work import Progress, start_work

__all__ = ["prepare"]


def prepare(
    sources: Location | Sequence[Location],
    out: Location,
    config: Config | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read exports, check them, split them and write a dataset.

    Args:
        sources: ZIPs, folders, globs or URLs of exports, or one of them.
        out: folder or URL for the dataset; empty, not there, or a failed or unfinished run's.
        config: what to make; None: the defaults.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.

    Returns:
        The summary, as `summary.json` holds it. Its `status` is FAILED, and nothing but the report
        was published, if the checks found errors that the configuration does not set aside.

    Raises:
        UsageError: wrong usage, or `out` holds something else.
        ResumeError: `out` holds an unfinished run of something else.
        ExportError: an export cannot be read.
        RunError: the run broke; the same call goes on from what was done.
    """
    config, execution = records_of(config, execution)
    out = location_of(out, "out")
    exports = find_sources(sources)
    done = _finished(exports, out, config)
    if done is not None:
        sweep(out)
        return done
    with writing(out, "sam2prep prepare") as staging:
        done = _finished(exports, out, config)  # another run may just have ended here
        if done is not None:
            return done
        record = run_record(
            "prepare", exports, config.to_json(), frames_per_range=execution.frames_per_range
        )
        with (
            RunInProgress(out, record, execution.resume) as records,
            start_work(execution, exports, progress, records, places=[out, config.frames]) as work,
        ):
            outcome = Outcome(out=out, staging=staging, config=config, work=work, command="prepare")
            return _run(exports, outcome)


def _finished(exports: Sequence[str], out: str, config: Config) -> dict[str, Any] | None:
    """The summary of what is there already; None if there is a dataset to make."""
    state = state_of(out)
    if state is OutState.FOREIGN:
        raise OutputError(
            out, "holds something that is no prepared dataset",
            advice="name a folder that is empty or not there yet",
        )  # fmt: skip
    return _already_there(exports, out, config) if state is OutState.FINISHED else None


def _already_there(exports: Sequence[str], out: str, config: Config) -> dict[str, Any]:
    manifest = read_manifest(out)
    given = {export: digests_of(export, caps=config.caps) for export in exports}
    held = sorted(entry["content_digest"] for entry in manifest["inputs"])
    damaged = damaged_images(out, manifest)  # a repaired export has the digest of the damaged one
    missing = [
        export
        for export, digests in given.items()
        if not set(digests) <= set(held) or brings_repaired(export, damaged, config)
    ]
    found = sorted(d for export, own in given.items() if export not in missing for d in own)
    asked, made = config.to_json(), manifest["config"]
    if found == held and made == asked:
        done = read_json(join(out, "summary.json")) | {"nothing_to_do": True}
        if not missing:
            return done
        if {file_name(export) for export in missing} <= _left_out(out):
            return done | {"exports_left_out": missing}
    advice = f"use: sam2prep add {out} ..."
    if not missing:  # there is nothing to add
        advice += f" for other exports; these are in it{_made_otherwise(out, made, asked)}"
    raise OutputError(out, f"holds {manifest['samples']} samples", advice=advice)


def _made_otherwise(out: str, made: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say how a dataset that has these exports differs from what is asked, and what would help."""
    keys = [key for key in asked if made.get(key) != asked[key]]
    if not keys:
        return " beside others"
    ways = ["another --out"]
    if set(keys) <= set(SPLIT_KEYS):
        ways.insert(0, f"sam2prep split {out} ...")
    said = ", ".join(_differing(key, made.get(key), asked[key]) for key in keys)
    return f", made with {said}; use: {', or '.join(ways)}"


def _differing(key: str, made: Any, asked: Any) -> str:
    """Name an option with both values; of tables, which may be long, the name alone."""
    if key == "split_file" or isinstance(made, Mapping) or isinstance(asked, Mapping):
        return f"another {key}"
    shown = ["/".join(map(str, v)) if isinstance(v, list) else str(v) for v in (made, asked)]
    return f"{key} {shown[0]}, not {shown[1]}"


def _left_out(out: str) -> set[str]:
    """Names of the exports that crashed whoever opened them when the dataset was made."""
    return {issue["source"] for issue in read_issues(out) if issue["code"] == "export_crashed"}


def _run(exports: Sequence[str], outcome: Outcome) -> dict[str, Any]:
    """Go all the way, or to a report only."""
    out, staging, config, work = outcome.out, outcome.staging, outcome.config, outcome.work
    intake = take_in(exports, staging, config, work, check_images="header")
    verdict = intake.judge(config)
    if verdict.status == "FAILED" and config.validation == "strict":
        return outcome.publish_failure(intake, verdict, images_checked="header")
    built = build(intake, staging, out, config, work)
    if built.issues:  # found while the images were read: the sources' verdict is made again
        intake = intake.with_issues(built.issues)
        verdict = intake.judge(config)
    if verdict.status == "FAILED" and (built.samples == 0 or config.validation == "strict"):
        return outcome.publish_failure(intake, verdict)
    if built.samples == 0:  # only where nothing was there and a policy says that is no error
        forget_tasks(staging)  # the same exports would come to the same
        raise ExportError("SRC", "no frame is left to make a dataset of")
    intake = intake.with_issues(built.leaks)  # of the dataset, not of the sources
    published = built.judge(intake, config)
    if published.status == "FAILED":  # by what no frame can be set aside for
        return outcome.publish_failure(intake, published, sources=verdict)
    return outcome.publish(intake, verdict, built, published)
