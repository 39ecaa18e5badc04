"""`split`: divide a prepared dataset anew, without its exports.

The same way as a first run from the division on: the rows come from the index, the images from the
dataset's own files. So it gives the bytes that `prepare` would have given with the new split. Two
things are otherwise: images of frames that the old split left out (`--temporal-segments`) are not
in the dataset, so they stay left out, and a split file that wants them is refused; and frames whose
images turned out bad when they were written are known from the start, so that their shards are
filled up with others.
"""

from collections.abc import Mapping
from typing import Any

from engine.choices import of_kind
from engine.config import SPLIT_KEYS, Config, Execution, records_of
from engine.config_file import config_from
from engine.dataset_build import build
from engine.errors import ConfigError, RunError
from engine.history_record import Version, read_version
from engine.locations import Location, location_of
from engine.manifest import read_json, require_dataset, require_files
from engine.outcome import Outcome
from engine.prepared import left_out_before, read_intake
from engine.publication import writing
from engine.storage import join
from engine.unfinished import RunInProgress, forget_tasks, run_record
from engine.work import Progress, start_work

__all__ = ["split"]

_KEPT = ("ratios", "seed")  # of these the old value holds where no new one is given


def split(
    out: Location,
    changes: Mapping[str, Any],
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Divide a prepared dataset anew.

    Frames that a split leaves out leave the dataset for good, and their images with them: only
    `prepare` of all exports, to another place, brings them back.

    Args:
        out: the dataset, a folder or URL that `prepare` wrote.
        changes: values for `SPLIT_KEYS`, as in `Config`. Ratios and seed stay as they were unless
            they are given, here or by a split file; everything else of the split starts from its
            default.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.

    Returns:
        The summary, as `summary.json` holds it. The last entry of its `history` has `not_kept`
        where the old split was made with something that began again from its default: {key: value}.

    Raises:
        UsageError: there is no finished dataset, or its frames cannot be split as asked.
        ResumeError: there is an unfinished run of something else.
        RunError: the dataset is damaged, or the run broke; it is as it was, and the same call goes
            on from what was done.
    """
    _, execution = records_of(None, execution)
    of_kind("changes", changes, Mapping, "a mapping of SPLIT_KEYS to values")
    out = location_of(out, "out")
    require_dataset(out)
    with writing(out, "sam2prep split") as staging:
        held = read_version(out)
        rule = read_json(join(out, "split.json"))
        config = _config(held, rule, changes)
        if config.to_json() == held.config:
            return {**held.summary, "nothing_to_do": True}
        require_files(out, held.manifest, shards=False)
        record = run_record("split", [], config.to_json(), held=held.manifest["digest"])
        with (
            RunInProgress(out, record, execution.resume) as records,
            start_work(execution, [out], progress, records) as work,
        ):
            lost = _not_kept(held, rule, config, changes)
            outcome = Outcome(
                out=out, staging=staging, config=config, work=work, command="split", held=held,
                facts={"not_kept": lost} if lost else {},
            )  # fmt: skip
            return _again(outcome)


def _again(outcome: Outcome) -> dict[str, Any]:
    """Make the dataset out of what it holds."""
    out, staging, config, work = outcome.out, outcome.staging, outcome.config, outcome.work
    intake = read_intake(out)
    built = build(intake, staging, out, config, work, left_out=left_out_before(intake.index))
    if built.issues:
        forget_tasks(staging)  # the dataset has to be repaired first, and is another then
        first = built.issues[0]
        raise RunError(
            out, f"{len(built.issues)} images are damaged, the first of {first.frame_id}",
            got=first.message, advice=f"use: sam2prep verify {out}",
        )  # fmt: skip
    sources = intake.judge(config)
    intake = intake.with_issues(built.leaks)
    return outcome.publish(intake, sources, built, built.judge(intake, config))


def _config(held: Version, rule: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
    """The configuration that the dataset would have been prepared with."""
    for key in changes:
        if key not in SPLIT_KEYS:
            raise ConfigError(
                key, "is not of the split", expected=" | ".join(SPLIT_KEYS),
                advice="what else a dataset is made with is said to: sam2prep prepare",
            )  # fmt: skip
    kept = {k: v for k, v in held.config.items() if k not in SPLIT_KEYS or k in _KEPT}
    if held.config.get("split_file") is not None:
        kept["ratios"] = list(rule["ratios"].values())  # those of the file are not configured
    if changes.get("split_file") is not None:
        del kept["ratios"]  # they are the file's, and nobody gave those of the dataset beside it
    return config_from(kept | dict(changes))[0]


def _not_kept(
    held: Version, rule: Mapping[str, Any], config: Config, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """What the dataset was divided with that nobody took back, by its key; a file says it all."""
    now, lost = config.to_json(), {}
    if config.split_file is None:
        own = [k for k in SPLIT_KEYS if k not in _KEPT and changes.get(k) is None]
        lost = {k: held.config[k] for k in own if held.config.get(k, now[k]) != now[k]}
    folds = rule.get("folds", {}).get("count")  # from the configuration or from a split file
    if folds and not (config.folds or (config.split_file or {}).get("folds")):
        lost["folds"] = folds
    return lost
