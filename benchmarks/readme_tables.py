"""The README's measured figures, made from the results files: run after every measurement.

    python -m benchmarks.readme_tables            # writes them into README.md
    python -m benchmarks.readme_tables --check    # says which are not those of the files

What stands between `<!-- measured: NAME -->` and `<!-- end -->` is made here and nowhere else. A
row of the table of speeds is there if its results file is.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import click

from benchmarks.harness import ROOT
from benchmarks.readme_speed import speed_machines, speed_rows

__all__ = ["RESULTS", "blocks_of", "main", "written_into"]

RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
_SPLITTERS = {
    "sam2prep stratified": "ours, stratified",
    "sam2prep stratified, by video": "ours, stratified by video",
    "sam2prep temporal": "ours, temporal",
    "scikit-learn StratifiedShuffleSplit": "StratifiedShuffleSplit",
    "scikit-learn StratifiedGroupKFold": "StratifiedGroupKFold",
    "iterative-stratification": "iterative-stratification",
    "iterative-stratification of videos": "iterative-stratification of videos",
}
_NOTATIONS = {
    "compressed": "COCO compressed, with size",
    "counts": "list of runs, with size",
    "decimal": "decimal runs on the 256x256 grid",
}


def blocks_of(results: Mapping[str, Any]) -> dict[str, str]:
    """Make every block of the README.

    Args:
        results: documents by the names of their files, without the end.

    Returns:
        Text by the name of the block, lines ended.

    Raises:
        KeyError: a file is missing that is not one of speed, or a figure in one.
    """
    makers: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
        "corruption": _corruption, "masks": _masks, "speed": _speed, "splits": _splits,
        "split_scale": _split_scale,
    }  # fmt: skip
    return {name: "".join(f"{line}\n" for line in maker(results)) for name, maker in makers.items()}


def written_into(readme: str, blocks: Mapping[str, str]) -> str:
    """Put the blocks into a README in place of what stands there.

    Raises:
        ValueError: a block has no place in it, or a place no block.
    """
    places = [match[1] for match in _BLOCK.findall(readme)]
    if sorted(places) != sorted(blocks):
        raise ValueError(f"README: places {sorted(places)}, blocks {sorted(blocks)}")
    return _BLOCK.sub(lambda match: match[1] + blocks[match[2]] + match[4], readme)


def _table(head: str, rows: Iterator[str]) -> Iterator[str]:
    yield head
    yield "|" + "---|" * (head.count("|") - 1)
    yield from rows


def _share(part: int, whole: int) -> str:
    return "0" if part == 0 else f"{100 * part / whole:.1f} %"


def _corruption(results: Mapping[str, Any]) -> Iterator[str]:
    found = results["corruption"]["results"]

    def rows() -> Iterator[str]:
        for notation, name in _NOTATIONS.items():
            own = found[notation]
            missed = [own["missed"][key] for key in ("nothing", "box", "area", "area and box")]
            shares = " | ".join(_share(each, own["corruptions"]) for each in missed)
            yield f"| {name} | {shares} |"

    yield from _table(
        "| the record declares | nothing | its box | its area | area and box |", rows()
    )


def _masks(results: Mapping[str, Any]) -> Iterator[str]:
    found = results["masks"]
    compressed, decimal = (
        f"{own['masks_per_sec'] // 1000 * 1000:,}" for own in found["results"].values()
    )
    yield f"A core checks {compressed} compressed 1280x720 masks a second, or {decimal} decimal"
    yield (
        "ones including their way to image pixels "
        f"({found['machine']['cpu']}; `benchmarks/bench_masks.py`)."
    )


def _speed(results: Mapping[str, Any]) -> Iterator[str]:
    machines = " and ".join(speed_machines(results))
    yield f"Measured on {machines}, what is compared side by side; medians. Three masks a frame"
    yield "where nothing else is said."
    yield ""
    rows = (f"| {what} | {figures} | `{script}` |" for what, figures, script in speed_rows(results))
    yield from _table("| what | measured | `python -m benchmarks.` |", rows)


def _splits(results: Mapping[str, Any]) -> Iterator[str]:
    corpora = list(results["splits"]["results"].values())

    def rows() -> Iterator[str]:
        for splitter, name in _SPLITTERS.items():
            own = [corpus["splitters"][splitter] for corpus in corpora]
            off = [each["max_class_deviation_points"] for each in own]
            leaks = "yes" if any(each["videos_in_several_splits"] for each in own) else "no"
            yield (
                f"| {name} | {leaks} | {median(off):.2f} | {max(off):.2f} "
                f"| {sum(each['absent'] for each in own)} "
                f"| {max(each['size_deviation_points'] for each in own):.2f} |"
            )

    head = "| | leaks | off, median | off, largest | classes lacked, all ten | size off, largest |"
    yield from _table(head, rows())


def _split_scale(results: Mapping[str, Any]) -> Iterator[str]:
    found = results["split_scale"]
    plain = [own["cpu_sec"] for name, own in found["results"].items() if "folds" not in name]
    folds = [own["cpu_sec"] for name, own in found["results"].items() if "folds" in name]
    memory = max(own["peak_memory_mb"] for own in found["results"].values())
    yield (
        f"{found['frames']:,} frames of {found['videos']:,} videos with {found['classes']} classes "
        "are divided, certified and"
    )
    yield (
        f"described in {math.floor(min(plain))} to {math.ceil(max(plain))} s of one core, 5 folds "
        f"included in {math.ceil(max(folds))}, below {math.ceil(memory / 100) * 100} MB"
    )
    yield "(`python -m benchmarks.bench_split_scale`)."


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; end with 1 if README.md differs.")
def main(*, check: bool) -> None:
    """Write the measured figures into README.md."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    place = ROOT / "README.md"
    readme = place.read_text()
    wanted = written_into(readme, blocks_of(results))
    if not check:
        place.write_text(wanted)
    elif wanted != readme:
        click.echo("README.md does not say what the results files do: run this without --check")
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.readme_tables")
