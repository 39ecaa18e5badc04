"""The rows of the README's table of speeds: one or two a results file, none without it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["speed_machines", "speed_rows"]

_Row = tuple[str, str, str]


def speed_rows(results: Mapping[str, Any]) -> Iterator[_Row]:
    """Make the rows.

    Args:
        results: documents by the names of their files, without the end.

    Yields:
        What is measured, the figures, and the script that measures them.

    Raises:
        KeyError: a figure is missing in a file that is there.
    """
    for name, (script, maker) in _makers().items():
        if name in results:
            for what, figures in maker(results[name]):
                yield what, figures, script


def speed_machines(results: Mapping[str, Any]) -> list[str]:
    """Say on what the rows were measured, each machine once: "2 cores (AMD EPYC)"."""
    machines = (results[name]["machine"] for name in _makers() if name in results)
    return list(dict.fromkeys(f"{own['cores']} cores ({own['cpu']})" for own in machines))


def _makers() -> dict[str, tuple[str, Callable[[dict[str, Any]], Iterator[tuple[str, str]]]]]:
    """Script and maker of rows, by results file, in the order of the table."""
    return {
        "vs_datasets_script": ("bench_vs_datasets_script", _script),
        "vs_bare_pass_jpg": ("bench_vs_bare_pass", _further),
        "vs_bare_pass_png": ("bench_vs_bare_pass --kind png", _further),
        "real_dialect_1000": ("bench_real_dialect", _real),
        "real_dialect_200": ("bench_real_dialect --frames-per-export 200", _real),
        "scaling": ("bench_scaling", _scaling),
        "million": ("bench_million", _million),
        "memory": ("bench_memory", _memory),
        "start": ("bench_start", _start),
        "decoding_jpg": ("bench_decoding", _decoding),
        "decoding_png": ("bench_decoding --kind png", _decoding),
    }


def _mb(number: float | None) -> str:
    return "?" if number is None else f"{number:,.0f} MB"


def _images(parameters: Mapping[str, Any]) -> str:
    """Such as "JPEG (1280x720, 290 KB)"."""
    kind = "PNG" if parameters.get("image_format", "jpg") == "png" else "JPEG"
    size = parameters["image_bytes"]
    weight = f", {size / 1000:.0f} KB" if size else ""
    return f"{kind} ({parameters['width']}x{parameters['height']}{weight})"


_OTHER_PASSES = {
    "bare pass with SHA-256": "the same beside a bare pass that takes the SHA-256 a manifest needs",
    "zipfile pass": "the same beside a pass that reads with Python's `zipfile`",
}


def _script(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    own, peer = found["results"]["engine"], found["results"]["datasets script"]
    asked = found["parameters"]
    frames = asked["exports"] * asked["frames_per_export"]
    yield (
        f"`prepare` of {frames:,} frames of {_images(asked)}, start included",
        f"{own['median_sec']:.1f} s, {_mb(own['peak_rss_mb_of_one_process'])} a process",
    )
    on_ray = found["results"].get("engine on Ray")
    if on_ray:
        yield (
            "the same on Ray, started for it",
            f"{on_ray['median_sec']:.1f} s, {_mb(on_ray['peak_rss_mb_of_one_process'])} a process",
        )
    yield (
        "the same by a plain script with `datasets`, two processes and pycocotools",
        f"{peer['median_sec']:.1f} s, {_mb(peer['peak_rss_mb_of_one_process'])} a process "
        f"({_mb(peer['peak_anonymous_mb_of_one_process'])} its own)",
    )


def _further(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    costs = found["further_frames"]
    each = " and ".join(f"{costs[n]['ratio']:.2f}" for n in sorted(costs, key=int))
    workers = " and ".join(sorted(costs, key=int))
    yield (
        f"a further frame of {_images(found['parameters'])}, beside a bare pass (read, inflate, "
        f"CRC, write) of its bytes; {workers} at once",
        f"{each} times",
    )
    for who, what in _OTHER_PASSES.items():
        ratios = (
            costs[n]["engine_ms_a_frame"] / costs[n]["other_passes_ms_a_frame"][who]
            for n in sorted(costs, key=int)
        )
        yield what, f"{' and '.join(f'{ratio:.2f}' for ratio in ratios)} times"
    scaling = found["scaling"]
    if scaling:
        less, more = scaling["workers"]
        yield (
            f"the same with {more} workers beside {less}",
            f"{scaling['engine']:.2f} times as fast (the bare pass {scaling['bare_pass']:.2f})",
        )


def _real(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        "a further frame as the real exporter writes it (256x256 grid, paint), beside its clean "
        f"twin; exports of {found['parameters']['frames_per_export']:,} frames",
        f"{found['ratio']:.2f} times",
    )


def _scaling(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    asked, lines = found["parameters"], found["lines"]
    numbers = sorted(lines, key=int)
    sizes = [int(count) for count in lines[numbers[0]]["seconds"]]
    each = " and ".join(f"{lines[n]['ms_a_frame']:.2f}" for n in numbers)
    off = max(line["worst_off"] for line in lines.values())
    yield (
        f"a frame of {_images(asked)}, {min(sizes):,} to {max(sizes):,} frames, "
        "two masks each; "
        f"{' and '.join(numbers)} at once",
        f"{each} ms, {100 * off:.0f} % off a straight line at most",
    )


def _million(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    count, largest = max(found["sizes"].items(), key=lambda item: int(item[0]))
    apart = found["steps_apart_by"]
    shown = "" if apart is None else f", further frames {100 * apart:.0f} % apart"
    yield (
        f"{int(count):,} frames of {_images(found['parameters'])}, two masks each",
        f"{largest['seconds']:,.0f} s, {largest['cpu_ms_a_frame']:.2f} ms of a core a frame, "
        f"driver {_mb(largest['driver_mb'])}{shown}",
    )


def _memory(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    peaks = found["peaks"]
    for kind in ("driver", "worker"):
        held = {name: own[kind]["peak_rss_mb"] for name, own in peaks.items() if kind in own}
        if held:
            name = max(held, key=lambda each: held[each])
            yield f"most memory of a {kind} ({', '.join(peaks)})", f"{_mb(held[name])}, at {name}"


def _start(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sec = found["seconds"]
    yield (
        f"cold: `--help`; `validate` and `prepare` of {found['parameters']['frames']} painted PNG "
        f"frames ({found['export_bytes'] / 1e6:.0f} MB)",
        f"{sec['help']:.2f} s; {sec['validate']:.1f} s, {sec['prepare']:.1f} s",
    )


def _decoding(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield (
        f"`validate --check-images decode` of {_images(found['parameters'])}, beside `validate` "
        "plus the same decoding by Pillow alone",
        f"{found['ratio']:.2f} times",
    )
