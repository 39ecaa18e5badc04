"""How even are the splits beside those of scikit-learn and iterative-stratification?

Question: ten drawn corpora of video frames with several labels a frame, split 80/10/10 by each
splitter. A splitter leaks if a video has frames in more than one split. Deviation is what a split's
share of the instances of a class is off its ratio, in percentage points: of the worst class, and in
the mean over the classes, which decides between equals. Size is the same for frames. A class is
absent where a split has none of it, though the class is in videos enough.

How each peer is used, to its advantage where there is a choice:

* `StratifiedShuffleSplit` takes one label a frame: the frame's set of classes, or where fewer than
  ten frames have that set, its rarest class, or where that is as rare, "other". Twice: 80/20, then
  the 20 in halves.
* `StratifiedGroupKFold` takes one label a frame and keeps videos whole: ten folds with the same
  label, of which the two that give the least deviation are validation and test.
* `MultilabelStratifiedShuffleSplit` takes the classes of each frame. Twice, as above.
* the same with videos as items, each with the classes that occur in it: then nothing leaks.

Times are processor time of one run. Fails (exit 1) if a split of ours leaks that must not, never
because it is slow or less even: that is in the result.
"""

import hashlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.split_corpora import Corpus, corpora
from engine.split_input import SplitInput
from engine.splits import Strategy, assign

__all__ = ["main"]

_RATIOS = (0.8, 0.1, 0.1)
_SEED = 42
_RAREST_SET = 10  # frames: one for each tenth
_PACKAGES = ("sam2prep", "numpy", "scikit-learn", "iterative-stratification")

_Split = NDArray[np.int8]


def _ours(strategy: Strategy, *, by_video: bool = False) -> Callable[[Corpus], _Split]:
    """The one place that calls the engine."""

    def split(corpus: Corpus) -> _Split:
        groups = corpus.data.video_names if by_video else None
        return assign(strategy, corpus.data, ratios=_RATIOS, seed=_SEED, groups=groups)

    return split


def _one_label(data: SplitInput) -> NDArray[np.int64]:
    """One label a frame, of at least ten frames each as far as there are so many."""
    sets = [tuple(np.unique(part).tolist()) for part in np.split(data.classes, data.indptr[1:-1])]
    frames = Counter(each for classes in sets for each in classes)
    times = Counter(sets)
    rarest = [
        classes
        if times[classes] >= _RAREST_SET
        else (min(classes, key=lambda c: (frames[c], c)),)
        if classes
        else ()
        for classes in sets
    ]
    times = Counter(rarest)
    merged = [classes if times[classes] >= _RAREST_SET else ("other",) for classes in rarest]
    number = {classes: i for i, classes in enumerate(sorted(set(merged), key=str))}
    return np.array([number[classes] for classes in merged])


def _presence(data: SplitInput, unit: NDArray[np.int64], units: int) -> NDArray[np.int8]:
    found = np.zeros((units, len(data.class_names)), dtype=np.int8)
    found[np.repeat(unit, np.diff(data.indptr)), data.classes] = 1
    return found


def _twice(splitter: Callable[[float], Any], labels: NDArray[Any]) -> _Split:
    """80/20, then the 20 in halves."""
    result = np.zeros(len(labels), dtype=np.int8)
    _, rest = next(splitter(0.2).split(labels, labels))
    one, other = next(splitter(0.5).split(labels[rest], labels[rest]))
    result[rest[one]], result[rest[other]] = 1, 2
    return result


def _stratified_shuffle(corpus: Corpus) -> _Split:
    from sklearn.model_selection import StratifiedShuffleSplit

    def splitter(share: float) -> Any:
        return StratifiedShuffleSplit(1, test_size=share, random_state=_SEED)

    return _twice(splitter, _one_label(corpus.data))


def _stratified_group(corpus: Corpus) -> _Split:
    from sklearn.model_selection import StratifiedGroupKFold

    data = corpus.data
    labels = _one_label(data)
    folds = np.zeros(len(labels), dtype=np.int64)
    kfold = StratifiedGroupKFold(10, shuffle=True, random_state=_SEED)
    for number, (_, held) in enumerate(kfold.split(labels, labels, data.video)):
        folds[held] = number
    filled = np.unique(folds)
    tried = []
    for validation, test in permutations(filled.tolist(), 2):
        split = np.where(folds == validation, 1, np.where(folds == test, 2, 0)).astype(np.int8)
        tried.append((_deviation(data, split), validation, test, split))
    return min(tried, key=lambda t: t[:3])[3]


def _iterative(labels: NDArray[np.int8]) -> _Split:
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    def splitter(share: float) -> Any:
        return MultilabelStratifiedShuffleSplit(1, test_size=share, random_state=_SEED)

    return _twice(splitter, labels)


def _iterative_frames(corpus: Corpus) -> _Split:
    n = len(corpus.data.ids)
    return _iterative(_presence(corpus.data, np.arange(n), n))


def _iterative_videos(corpus: Corpus) -> _Split:
    data = corpus.data
    videos = _presence(data, data.video.astype(np.int64), len(data.video_names))
    return _iterative(videos)[data.video]


_SPLITTERS: dict[str, Callable[[Corpus], _Split]] = {
    "sam2prep stratified": _ours("stratified"),
    "sam2prep stratified, by video": _ours("stratified", by_video=True),
    "sam2prep temporal": _ours("temporal"),
    "scikit-learn StratifiedShuffleSplit": _stratified_shuffle,
    "scikit-learn StratifiedGroupKFold": _stratified_group,
    "iterative-stratification": _iterative_frames,
    "iterative-stratification of videos": _iterative_videos,
}
# Ours that keep videos whole: a leak of theirs is a wrong answer.
_WHOLE = ("sam2prep stratified, by video", "sam2prep temporal")


def _shares(data: SplitInput, split: _Split) -> NDArray[np.float64]:
    """Share of each class's instances in each split, float64 (classes, 3)."""
    frame = np.repeat(np.arange(len(data.ids)), np.diff(data.indptr))
    cells = data.classes.astype(np.int64) * 3 + split[frame]
    held = np.bincount(cells, weights=data.counts, minlength=3 * len(data.class_names))
    held = held.reshape(-1, 3)
    return held[held.sum(axis=1) > 0] / held.sum(axis=1)[held.sum(axis=1) > 0, None]


def _deviation(data: SplitInput, split: _Split) -> float:
    return round(100 * float(np.abs(_shares(data, split) - _RATIOS).max()), 3)


def _mean_deviation(data: SplitInput, split: _Split) -> float:
    return round(100 * float(np.abs(_shares(data, split) - _RATIOS).max(axis=1).mean()), 3)


def _absent(data: SplitInput, split: _Split) -> int:
    """How often a split lacks a class, counting of a class no more than it has videos for."""
    present = np.unique(data.classes.astype(np.int64) * len(data.video_names)
                        + np.repeat(data.video, np.diff(data.indptr)))  # fmt: skip
    videos = np.bincount(present // len(data.video_names), minlength=len(data.class_names))
    held = (_shares(data, split) > 0).sum(axis=1)
    return int(np.maximum(np.minimum(videos[videos > 0], len(_RATIOS)) - held, 0).sum())


def _leaking(data: SplitInput, split: _Split) -> int:
    """Videos with frames in more than one split."""
    pairs = np.unique(data.video.astype(np.int64) * 3 + split)
    return int((np.unique(pairs // 3, return_counts=True)[1] > 1).sum())


def _measure(corpus: Corpus, name: str) -> dict[str, Any]:
    data = corpus.data
    start = time.process_time()
    try:
        with warnings.catch_warnings(action="ignore"):  # of scikit-learn: classes of few members
            split = _SPLITTERS[name](corpus)
    except ValueError as error:
        return {"failed": " ".join(str(error).split())}
    seconds = time.process_time() - start
    sizes = np.bincount(split, minlength=3)
    return {
        "sizes": sizes.tolist(),
        "size_deviation_points": round(100 * float(np.abs(sizes / len(split) - _RATIOS).max()), 3),
        "max_class_deviation_points": _deviation(data, split),
        "mean_class_deviation_points": _mean_deviation(data, split),
        "absent": _absent(data, split),
        "videos_in_several_splits": _leaking(data, split),
        "cpu_sec": round(seconds, 3),
        "digest": hashlib.sha256(split.tobytes()).hexdigest()[:16],
    }


def _best(found: dict[str, dict[str, Any]]) -> list[str]:
    """Those without leakage that have the least deviation."""
    clean = {
        name: (row["max_class_deviation_points"], row["mean_class_deviation_points"])
        for name, row in found.items()
        if "failed" not in row and not row["videos_in_several_splits"]
    }
    return sorted(name for name, points in clean.items() if points == min(clean.values()))


@click.command()
@click.option("--out", default="benchmarks/results/splits.json", show_default=True)
def main(*, out: str) -> None:
    """Split ten corpora with each splitter and compare."""
    results, wrong = {}, []
    for corpus in corpora():
        found = {name: _measure(corpus, name) for name in _SPLITTERS}
        wrong += [
            f"{corpus.name}: {name} leaks"
            for name in _WHOLE
            if found[name].get("videos_in_several_splits")
        ]
        results[corpus.name] = {**corpus.facts(), "best": _best(found), "splitters": found}
        click.echo(f"{corpus.name}: best without leakage: {', '.join(_best(found))}")
        for name, row in found.items():
            click.echo(f"  {name:36} {_line(row)}")
    best = sum(any(n.startswith("sam2prep") for n in each["best"]) for each in results.values())
    document = {
        "question": (__doc__ or "").split("\n", maxsplit=1)[0],
        "ratios": list(_RATIOS),
        "machine": harness.machine_facts(Path.cwd()),
        "versions": harness.package_versions(_PACKAGES),
        "wrong": wrong,
        "corpora_where_ours_is_best_without_leakage": best,
        "results": results,
    }
    click.echo(f"ours is the most even without leakage in {best} of {len(results)}")
    for line in wrong:
        click.echo(f"WRONG: {line}")
    harness.write_result(Path(out), document)
    sys.exit(1 if wrong else 0)


def _line(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"failed: {row['failed']}"
    return (
        f"class {row['max_class_deviation_points']:7.3f} "
        f"mean {row['mean_class_deviation_points']:7.3f}  "
        f"absent {row['absent']:3}  size {row['size_deviation_points']:6.3f}  "
        f"leaking {row['videos_in_several_splits']:4}  {row['cpu_sec']:7.3f} s"
    )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bench_splits")
