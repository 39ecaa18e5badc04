"""The README's figures: written where they belong, made of nothing but the results."""

import json
from typing import Any

import pytest

from benchmarks.readme_speed import speed_machines, speed_rows
from benchmarks.readme_tables import RESULTS, blocks_of, written_into

MACHINE = {"cores": 2, "cpu": "Z80"}
JPEG = {"image_format": "jpg", "width": 1280, "height": 720, "image_bytes": 290_000}
SMALL = {"image_format": "jpg", "width": 64, "height": 64, "image_bytes": None}


def committed() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}


def rows(**results: Any) -> list[tuple[str, str, str]]:
    return list(speed_rows(results))


def test_what_stands_between_the_marks_is_replaced_and_nothing_else() -> None:
    readme = (
        "a\n<!-- measured: x -->\nold\nolder\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n"
    )
    made = written_into(readme, {"x": "new\n", "y": "\\1\n"})
    assert made == (
        "a\n<!-- measured: x -->\nnew\n<!-- end -->\nb\n<!-- measured: y -->\n\\1\n<!-- end -->\n"
    )
    assert written_into(made, {"x": "new\n", "y": "\\1\n"}) == made


@pytest.mark.parametrize("blocks", [{}, {"x": "", "z": ""}, {"z": ""}])
def test_a_mark_without_a_block_or_the_other_way_is_refused(blocks: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="places"):
        written_into("<!-- measured: x -->\n<!-- end -->\n", blocks)


def test_another_figure_in_a_file_is_another_text() -> None:
    results = committed()
    before = blocks_of(results)
    results["corruption"]["results"]["decimal"]["missed"]["box"] = 978
    results["masks"]["results"]["COCO compressed, 1280x720"]["masks_per_sec"] = 61_999
    results["splits"]["results"]["plain"]["splitters"]["sam2prep temporal"]["absent"] += 7
    results["split_scale"]["results"]["random"]["cpu_sec"] = 9.1
    after = blocks_of(results)
    assert "| decimal runs on the 256x256 grid | 0.2 % | 50.0 % | 0 | 0 |" in after["corruption"]
    assert "61,000 compressed" in after["masks"]
    assert "| ours, temporal | no | 11.53 | 20.00 | 22 | 3.33 |" in after["splits"]
    assert "in 1 to 10 s of one core" in after["split_scale"]
    assert before["speed"] == after["speed"]


def test_a_row_is_there_if_its_file_is() -> None:
    assert rows() == []
    found = rows(real_dialect_200={"ratio": 1.149, "parameters": {"frames_per_export": 200}})
    assert [(figures, script) for _, figures, script in found] == [
        ("1.15 times", "bench_real_dialect --frames-per-export 200")
    ]


def test_rows_of_every_benchmark() -> None:
    others = {"bare pass with SHA-256": 2.0, "zipfile pass": 2.5}
    costs = {
        n: {"ratio": ratio, "engine_ms_a_frame": ms, "other_passes_ms_a_frame": others}
        for n, ratio, ms in (("2", 1.304, 1.5), ("1", 1.25, 2.25))
    }
    scaling = {"workers": [1, 2], "engine": 1.852, "bare_pass": 1.9}
    found = rows(
        vs_bare_pass_png={"parameters": SMALL, "further_frames": costs, "scaling": scaling},
        scaling={
            "parameters": SMALL,
            "lines": {
                "2": {"ms_a_frame": 0.5, "worst_off": 0.04, "seconds": {"1000": 1, "100000": 9}},
                "1": {"ms_a_frame": 0.95, "worst_off": 0.07, "seconds": {"1000": 1, "100000": 9}},
            },
        },
        million={
            "parameters": SMALL, "steps_apart_by": 0.11,
            "sizes": {
                "300000": {"seconds": 200, "cpu_ms_a_frame": 1, "driver_mb": 500},
                "1000000": {"seconds": 1234.5, "cpu_ms_a_frame": 1.1, "driver_mb": 612.3},
            },
        },
        memory={
            "peaks": {
                "1000 frames": {"driver": {"peak_rss_mb": 300}, "worker": {"peak_rss_mb": 250}},
                "3840x2160": {"driver": {"peak_rss_mb": 310}, "worker": {"peak_rss_mb": 870.2}},
            }
        },
        start={
            "parameters": {"frames": 48}, "export_bytes": 24_215_272,
            "seconds": {"help": 0.212, "validate": 1.62, "prepare": 2.44},
        },
        decoding_jpg={"parameters": JPEG, "ratio": 1.08},
    )  # fmt: skip
    assert [figures for _, figures, _ in found] == [
        "1.25 and 1.30 times",
        "1.12 and 0.75 times",
        "0.90 and 0.60 times",
        "1.85 times as fast (the bare pass 1.90)",
        "0.95 and 0.50 ms, 7 % off a straight line at most",
        "1,234 s, 1.10 ms of a core a frame, driver 612 MB, further frames 11 % apart",
        "310 MB, at 3840x2160",
        "870 MB, at 3840x2160",
        "0.21 s; 1.6 s, 2.4 s",
        "1.08 times",
    ]
    assert "JPEG (1280x720, 290 KB)" in found[-1][0]


def test_machines_are_named_once() -> None:
    other = {"cores": 8, "cpu": "Z80"}
    results = {
        "start": {"machine": MACHINE}, "memory": {"machine": MACHINE},
        "scaling": {"machine": other}, "masks": {"machine": {"cores": 1, "cpu": "no row of speed"}},
    }  # fmt: skip
    assert speed_machines(results) == ["8 cores (Z80)", "2 cores (Z80)"]
