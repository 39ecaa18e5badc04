"""`add`: more exports join a prepared dataset, and nothing that is there is harmed.

What the dataset holds is read back as it was before its frames were divided, the new exports are
opened beside it, and all of it is judged again. Then the newcomers are divided and written; shards
that are there are linked into the next version. With `resplit` the division is made anew, and gives
the bytes that one run over all exports would have given.

An export whose content is in the dataset already is not read again, unless it brings an image whole
that was damaged when it came. One that fails the checks changes nothing: its report goes to
`OUT/rejected`.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from engine.arrivals import find_sources
from engine.choices import of_kind
from engine.config import SPLIT_KEYS, Config, Execution, records_of
from engine.config_file import by_name, config_from
from engine.damaged_images import brings_repaired, damaged_images
from engine.dataset_build import Built, build
from engine.errors import ConfigError, UsageError
from engine.frame_index import FrameIndex
from engine.held_dataset import files_aside, held_dataset, is_of_split
from engine.history_record import Version, read_version
from engine.intake import Intake, take_in
from engine.locations import Location, location_of
from engine.manifest import read_issues, read_json, require_dataset, require_files
from engine.outcome import Outcome
from engine.pixels import DAMAGED
from engine.prepared import left_out_before, read_intake
from engine.publication import writing
from engine.repeated_frames import REPLACED, Held, OnConflict
from engine.storage import join
from engine.survey import digests_of
from engine.tables import read_table
from engine.unfinished import RunInProgress, run_record
from engine.work import Progress, start_work

__all__ = ["ADD_KEYS", "add"]

ADD_KEYS = ("validation", "frames", "mask_order", "label", "label_map", "video_ids")
"""What can be said of exports that are added; all but `validation` holds for them alone."""

_OF_EXPORTS = ADD_KEYS[1:]
_POLICIES = ("fail", "keep", "replace")


def add(
    out: Location,
    sources: Location | Sequence[Location],
    changes: Mapping[str, Any] | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
    *,
    resplit: bool = False,
    on_conflict: OnConflict = "fail",
) -> dict[str, Any]:
    """Add exports to a prepared dataset.

    Without `resplit` every sample keeps its split. Frames of a video or group that is never divided
    join its split; others go where the ratios are not met.

    Args:
        out: the dataset, a folder or URL that `prepare` wrote.
        sources: ZIPs, folders, globs or URLs of exports, or one of them.
        changes: values for `ADD_KEYS`, as `prepare` takes them; all else is as it was made.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.
        resplit: divide all samples anew.
        on_conflict: where frames come again with other annotations: add nothing, keep, replace.

    Returns:
        The summary, as `summary.json` holds it. With `status` FAILED the dataset is as it was, its
        report at `report`. With `nothing_to_do`: `decided_before`, how conflicts were decided, if
        otherwise, `replaced_since`, how many frames another replaced, `not_applied`, of `changes`.

    Raises:
        UsageError: there is no finished dataset, or the frames cannot be divided as asked.
        ResumeError: there is an unfinished run of something else.
        ExportError: an export cannot be read.
        RunError: the run broke; the dataset is as it was, and the same call goes on.
    """
    out, execution = location_of(out, "out"), records_of(None, execution)[1]
    changes, exports = _checked(out, changes, on_conflict), find_sources(sources)
    with writing(out, "sam2prep add") as staging:
        held = read_version(out)
        config = _config(out, held, changes, resplit=resplit)
        if not (new := _not_in_yet(exports, out, held, config)):
            return _nothing_new(exports, out, held, config, changes, on_conflict=on_conflict)
        require_files(out, held.manifest, shards=not resplit)
        said: dict[str, Any] = {"resplit": resplit, "on_conflict": on_conflict}
        record = run_record(
            "add", new, config.to_json(), held=held.manifest["digest"], changes=changes,
            frames_per_range=execution.frames_per_range, **said,
        )  # fmt: skip
        read, places = [*new, out] if resplit else new, [out, changes.get("frames")]
        with (
            RunInProgress(out, record, execution.resume) as records,
            start_work(execution, read, progress, records, places=places) as work,
        ):
            facts = {key: changes[key] for key in _OF_EXPORTS if key in changes}
            outcome = Outcome(
                out=out, staging=staging, config=config, work=work, command="add", held=held,
                facts=facts | said | {"already_in": len(exports) - len(new)},
                run_id=hashlib.sha256(orjson.dumps(record)).hexdigest()[:12],
            )  # fmt: skip
            return _run(new, outcome, changes, resplit=resplit, on_conflict=on_conflict)


def _not_in_yet(exports: Sequence[str], out: str, held: Version, config: Config) -> list[str]:
    """Leave out what the dataset has already, by its content; what comes repaired it has not."""
    known = {entry["content_digest"] for entry in held.manifest["inputs"]}
    damaged = damaged_images(out, held.manifest)
    return [
        export
        for export in exports
        if not known.issuperset(digests_of(export, caps=config.caps))
        or brings_repaired(export, damaged, config)
    ]


def _nothing_new(
    exports: Sequence[str],
    out: str,
    held: Version,
    config: Config,
    changes: Mapping[str, Any],
    *,
    on_conflict: OnConflict,
) -> dict[str, Any]:
    """The summary of a dataset that has all these exports.

    If conflicts of theirs were decided the other way when they came, it says how, and if another
    export has replaced frames since, how many: they stay so.
    """
    done = {**held.summary, "nothing_to_do": True, "already_in": len(exports)}
    if changes:
        done["not_applied"] = sorted(changes)
    if not any("conflict_resolved" in line for line in held.summary["findings"]):
        return done
    digests = {digest for e in exports for digest in digests_of(e, caps=config.caps)}
    if replaced := _replaced_since(out, held, digests):
        done["replaced_since"] = replaced
    if on_conflict == "fail":
        return done
    for entry in held.summary.get("history", ()):
        came = {given["content_digest"] for given in entry["inputs"]}
        if came & digests and entry.get("on_conflict", "fail") not in ("fail", on_conflict):
            done["decided_before"] = entry["on_conflict"]
    return done


def _replaced_since(out: str, held: Version, digests: Collection[str]) -> int:
    """Count frames of these exports' videos that another export has replaced, and holds now."""
    inputs = held.manifest["inputs"]
    videos = {entry["video_id"] for entry in inputs if entry["content_digest"] in digests}
    resolved = {
        line["frame_id"]
        for line in read_issues(out)
        if line["code"] == "conflict_resolved"
        and line["message"] == REPLACED
        and line["video_id"] in videos
    }
    files = [f["path"] for f in held.manifest["files"] if f["path"].startswith("index/")]
    count = 0
    for file in files if resolved else ():
        rows = read_table(join(out, file), ["id", "export_digest"])
        own = pc.is_in(rows["export_digest"], value_set=pa.array(sorted(digests)))
        among = pc.is_in(rows["id"], value_set=pa.array(sorted(resolved)))
        count += pc.sum(pc.and_not(among, own)).as_py() or 0
    return count


def _checked(out: str, changes: Mapping[str, Any] | None, on_conflict: str) -> dict[str, Any]:
    """Refuse wrong usage before anything is locked; give what is to be changed."""
    of_kind("changes", changes, Mapping | None, "a mapping of ADD_KEYS to values")
    changes = {by_name(key): value for key, value in (changes or {}).items() if value is not None}
    require_dataset(out)
    if on_conflict not in _POLICIES:
        raise ConfigError(
            "--on-conflict", "not understood", got=on_conflict, expected=" | ".join(_POLICIES)
        )
    for key in changes:
        if key not in ADD_KEYS:
            raise ConfigError(
                key, "is of the dataset, which is there", expected=" | ".join(ADD_KEYS),
                advice="sam2prep split divides it anew, and sam2prep prepare makes another one",
            )  # fmt: skip
    read = config_from(changes)[0]  # of a label map that is named by its file, the table
    return {key: getattr(read, key) for key in changes}


def _config(out: str, held: Version, changes: Mapping[str, Any], *, resplit: bool) -> Config:
    """The configuration of the dataset, with exports added to it."""
    values = dict(held.config)
    if values["split_file"] is not None:
        if resplit:
            raise UsageError(
                "--resplit", "the splits are those of a file, which does not name new frames",
                advice="leave it out, or divide all of it by a rule afterwards: sam2prep split",
            )  # fmt: skip
        rule = read_json(join(out, "split.json"))
        values = {k: v for k, v in values.items() if k not in SPLIT_KEYS or k == "seed"}
        values |= {"split": rule["strategy"], "ratios": list(rule["ratios"].values())}
        values |= {key: rule[key] for key in ("group_by", "temporal_segments")}
        if rule["temporal_segments"]:
            values |= {"gap_sec": rule["gap_sec"], "group_by": None}
        if "folds" in rule:
            values["folds"] = rule["folds"]["count"]
    if "validation" in changes:
        values["validation"] = changes["validation"]
    return config_from(values)[0]


def _run(
    sources: Sequence[str],
    outcome: Outcome,
    changes: Mapping[str, Any],
    *,
    resplit: bool,
    on_conflict: OnConflict,
) -> dict[str, Any]:
    """Go all the way, or to a report only."""
    config, work = outcome.config, outcome.work
    before = read_intake(outcome.out)
    bad = before.issues.filter(pc.is_in(before.issues["code"], value_set=pa.array(DAMAGED)))
    intake = take_in(
        sources, outcome.staging, _for_reading(config, changes), work, check_images="header",
        before=before,
        held=Held(
            files=len(before.index.files), aside=files_aside(before.index.files),
            damaged=frozenset(bad["frame_id"].to_pylist()), first=not resplit,
            on_conflict=on_conflict, label_keys=frozenset(config.label_map),
        ),
    )  # fmt: skip
    if intake.contradictions:  # it is refused: what is there counts, and counts once
        intake = replace(intake, index=_each_once(intake.index, len(before.index.files)))
    verdict = intake.judge(config)
    if intake.contradictions or (verdict.status == "FAILED" and config.validation == "strict"):
        return outcome.publish_failure(intake, verdict, images_checked="header")
    built = _build(outcome, intake, before, resplit=resplit)
    if built.issues:  # found while the images were read: the sources' verdict is made again
        intake = intake.with_issues(built.issues)
        verdict = intake.judge(config)
    if verdict.status == "FAILED" and config.validation == "strict":
        return outcome.publish_failure(intake, verdict)
    if lost := _lost(intake, built):  # what was to replace them has bad images
        return outcome.publish_failure(replace(intake, contradictions=lost), verdict)
    intake = intake.with_issues(built.leaks)
    published = built.judge(intake, config)
    if published.status == "FAILED":  # also by what is found of samples that are there
        return outcome.publish_failure(intake, published, sources=verdict)
    return outcome.publish(intake, verdict, built, published)


def _each_once(index: FrameIndex, files: int) -> FrameIndex:
    """Leave out records of frames that the dataset has, in the first row files, already."""
    new = index.table["file"].to_numpy() >= files
    there = pc.unique(index.where(~new).table["id"])
    again = pc.is_in(index.table["id"], value_set=there).to_numpy(zero_copy_only=False)
    return index.where(~(new & again))


def _lost(intake: Intake, built: Built) -> int:
    """Count the samples that gave way to a record that cannot be one."""
    gone = {frame for frame, file in intake.made_room.items() if is_of_split(file)}
    return len(gone.difference(intake.index.where(built.kept).table["id"].to_pylist()))


def _for_reading(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration that new exports are read with: what was said of others is not theirs."""
    own: dict[str, Any] = {"frames": None, "video_ids": {}, "mask_order": "auto"}
    values = own | {key: changes[key] for key in _OF_EXPORTS if key in changes}
    return replace(config, **values)


def _build(outcome: Outcome, intake: Intake, before: Intake, *, resplit: bool) -> Built:
    """Write the next version, all of it or what is new."""
    out, staging, config, work = outcome.out, outcome.staging, outcome.config, outcome.work
    if resplit:
        gone = left_out_before(intake.index, len(before.index.files))
        return build(intake, staging, out, config, work, left_out=gone)
    manifest = outcome.held.manifest if outcome.held else {}
    held = held_dataset(manifest, before.index.files, intake)
    return build(intake, staging, out, config, work, held=held)
