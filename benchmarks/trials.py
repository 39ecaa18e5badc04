"""Trials: commands that are timed, what they must come to, and what they leave.

What all comparisons have in common: trials run interleaved, each answer is checked before it is
removed, trials that must write the same bytes are held against each other, and the figures are
medians over the rounds. The cost of a further frame is the time of many frames less that of few,
by the same command: start and end are in both.
"""

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks import harness
from benchmarks.make_exports import DEFAULT_CACHE

__all__ = [
    "Judgement",
    "Outcome",
    "Trial",
    "conclude",
    "document_of",
    "measuring_options",
    "read_once",
    "run_trials",
    "work_folder",
]

_PACKAGES = ("sam2prep", "ray", "pyarrow", "numpy", "pillow", "orjson", "zlib-ng")
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What came of a run.

    Args:
        facts: of the answer, JSON types.
        wrong: one line for each thing that is not as it must be.
        digest: of what was written; None: it is not compared.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is timed.

    Args:
        command: its name is that of the trial.
        judge: says what came of a run, before what it left is removed.
        leaves: what it writes; None: nothing.
        answer: trials with one word here must write the same bytes; empty: as they like.
    """

    command: harness.Command
    judge: Callable[[harness.Run], Judgement]
    leaves: Path | None = None
    answer: str = ""

    @property
    def name(self) -> str:
        """Names the trial in the result."""
        return self.command.name


@dataclass(kw_only=True)
class Outcome:
    """What came of all runs.

    Args:
        runs: that count, by trial.
        facts: of the last run, by trial.
        digests: all that were written, by answer.
        wrong: each thing once.
    """

    runs: dict[str, list[harness.Run]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    digests: dict[str, set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def seconds(self, name: str) -> float:
        """Median of a trial's runs, in seconds."""
        return statistics.median(run.seconds for run in self.runs[name])

    def cpu_seconds(self, name: str) -> float:
        """Median of the processor time of all its processes, in seconds; 0 without /proc."""
        return statistics.median(
            sum(process.cpu_sec for process in run.processes) for run in self.runs[name]
        )

    def further(self, few: str, many: str) -> float:
        """Median time of a trial of many frames less that of one of few, in seconds."""
        return self.seconds(many) - self.seconds(few)

    def further_by_round(self, few: str, many: str) -> list[float]:
        """The same, round by round."""
        pairs = zip(self.runs[few], self.runs[many], strict=True)
        return [b.seconds - a.seconds for a, b in pairs]

    def to_json(self) -> dict[str, Any]:
        """Give what is wrong, the digests and every trial as JSON types."""
        return {
            "wrong": self.wrong,
            "output_digest": {answer: sorted(own) for answer, own in self.digests.items()},
            "results": {
                name: harness.summary_of(own) | {"answer": self.facts[name]}
                for name, own in self.runs.items()
            },
        }


def run_trials(trials: Sequence[Trial], *, repeats: int, warmups: int) -> Outcome:
    """Run trials in turn, again and again, and judge every run.

    Args:
        trials: with different names.
        repeats: rounds that count.
        warmups: rounds before them that do not; they are judged, too.

    Raises:
        RuntimeError: a command did not end with 0.
    """
    outcome = Outcome()
    known = {trial.name: trial for trial in trials}

    def after(run: harness.Run) -> None:
        trial = known[run.name]
        found = trial.judge(run)
        outcome.facts[run.name] = found.facts
        outcome.wrong += [text for text in found.wrong if text not in outcome.wrong]
        if trial.answer and found.digest:
            outcome.digests.setdefault(trial.answer, set()).add(found.digest)
        if trial.leaves is not None:
            shutil.rmtree(trial.leaves, ignore_errors=True)

    commands = [trial.command for trial in trials]
    outcome.runs = harness.alternate(commands, repeats=repeats, warmups=warmups, after=after)
    for answer, digests in outcome.digests.items():
        if len(digests) > 1:
            outcome.wrong.append(f"{answer}: runs wrote different bytes")
    return outcome


def read_once(paths: Sequence[Path]) -> None:
    """Bring files into the page cache, as far as they fit."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(2**20):
                pass


@contextmanager
def work_folder(work: str | None, cache: str) -> Iterator[Path]:
    """Give an empty folder for outputs, removed at the end; None: beside the exports."""
    parent = Path(work) if work else Path(cache)
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench_", dir=parent) as name:
        yield Path(name).resolve()


def measuring_options(result: str, *, repeats: int = 3, warmups: int = 1) -> Callable[[_F], _F]:
    """Give a command the options that all benchmarks of trials have.

    Args:
        result: name of its results file, without the end.
        repeats: default of the option.
        warmups: default of the option.
    """
    options = (
        click.option("--repeats", default=repeats, show_default=True, help="Rounds that count."),
        click.option("--warmups", default=warmups, show_default=True, help="Rounds before them."),
        click.option("--cache", default=str(DEFAULT_CACHE), show_default=True, help="Of exports."),
        click.option("--work", help="Folder for outputs, such as a tmpfs; default: the cache."),
        click.option("--out", default=f"benchmarks/results/{result}.json", show_default=True),
    )

    def add(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def document_of(
    question: str | None, outcome: Outcome, work: Path, **figures: Any
) -> dict[str, Any]:
    """Make a result: the question, the figures, then machine, versions and every run.

    Args:
        question: a docstring, of which the first line is taken.
        outcome: of the trials.
        work: folder the commands wrote to.
        **figures: aims, parameters and answers, JSON types, in this order.
    """
    return {
        "question": (question or "").split("\n", maxsplit=1)[0],
        **figures,
        "machine": harness.machine_facts(work),
        "versions": harness.package_versions(_PACKAGES),
        **outcome.to_json(),
    }


def conclude(document: dict[str, Any], out: str) -> None:
    """Write a result, say what is wrong in it, and exit: with 1 if anything is."""
    for line in document["wrong"]:
        click.echo(f"WRONG: {line}")
    harness.write_result(Path(out), document)
    sys.exit(1 if document["wrong"] else 0)
