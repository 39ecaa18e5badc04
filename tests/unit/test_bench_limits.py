"""The division of a run's time: what adds up, and cases worked out by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.limits import ADVICE, Bare, divide_time, largest, stage_rows

BARE = Bare(read_sec=1e-9, inflate_sec=4e-9, write_sec=2e-9, content=1.0)


def stage(
    seconds: float, busy: float = 0.0, tasks: int = 0, *, read: int = 0, written: int = 0,
    slowest: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """One stage as `summary.json` has it."""
    return {
        "seconds": seconds, "busy_sec": busy, "tasks": tasks, "bytes_read": read,
        "bytes_written": written, "slowest": {"task": "t", "seconds": slowest} if tasks else None,
    }  # fmt: skip


def test_a_run_by_hand() -> None:
    stages = {
        "open": stage(5.0, busy=5.0, tasks=3, slowest=2.0),  # one at once: Ray is starting
        "scan": stage(4.0, busy=6.0, tasks=4, read=10**9, slowest=1.0),
        "split": stage(0.5),
        "write": stage(10.0, busy=16.0, tasks=9, read=2 * 10**9, written=10**9, slowest=6.0),
    }
    found = divide_time(stages, 20.0, 21.0, 2, BARE)
    assert found == pytest.approx(
        {
            "start": 1.0 + 2.5,
            "driver": 0.5 + 0.5,
            "reading": 0.5 + 1.0,
            "writing": 1.0,
            "processor": 2.5 + (3.0 - 0.5) + (8.0 - 2.0),
            "waiting": 0.5 + 2.0,
            "ray": 0.5,
        }
    )
    assert largest(found) == "processor"


def test_one_task_alone_later_on_is_not_the_start() -> None:
    stages = {
        "scan": stage(2.0, busy=4.0, tasks=8, slowest=0.5),
        "write": stage(3.0, busy=3.0, tasks=1, slowest=3.0),
    }
    found = divide_time(stages, 5.0, 5.0, 2, BARE)
    assert found["start"] == 0
    assert found["waiting"] == pytest.approx(1.5)


def test_in_one_process_nothing_waits() -> None:
    stages = {"open": stage(1.0, busy=1.0, tasks=2, slowest=0.5), "index": stage(0.25)}
    found = divide_time(stages, 1.5, 2.0, 1, BARE)
    assert found["waiting"] == found["ray"] == 0
    assert found["start"] == pytest.approx(0.5)
    assert found["driver"] == pytest.approx(0.5)


def test_reading_takes_no_more_than_the_tasks_took() -> None:
    stages = {"scan": stage(1.0, busy=1.0, tasks=1, read=10**12, slowest=1.0)}
    found = divide_time(stages, 1.0, 1.0, 1, BARE)
    assert found["reading"] == pytest.approx(1.0)
    assert found["processor"] == pytest.approx(0.0)


numbers = st.floats(0, 100)
made_stages = st.dictionaries(
    st.sampled_from(["open", "scan", "track", "split", "write"]),
    st.builds(
        stage, numbers, numbers, st.integers(0, 5), read=st.integers(0, 10**12),
        written=st.integers(0, 10**12), slowest=numbers,
    ),
)  # fmt: skip


@given(made_stages, numbers, numbers, st.floats(1, 64))
def test_the_parts_add_up_to_the_whole(
    stages: dict[str, Any], besides: float, before: float, cores: float
) -> None:
    total = sum(each["seconds"] for each in stages.values()) + besides
    found = divide_time(stages, total, total + before, cores, BARE)
    assert found.keys() == ADVICE.keys()
    assert sum(found.values()) == pytest.approx(total + before, abs=1e-6)
    assert min(found.values()) > -1e-6


def test_the_cost_of_a_bare_pass_is_taken_from_its_sample() -> None:
    passed = {
        "stored_bytes": 1000, "size_bytes": 1500, "read_sec": 1.0, "inflate_sec": 2.0,
        "write_sec": 3.0,
    }  # fmt: skip
    assert Bare.of(passed).core_seconds(10_000) == pytest.approx(60.0)


def test_rows_say_what_was_at_once() -> None:
    rows = stage_rows({
        "scan": stage(2.0, busy=3.0, tasks=4, read=6 * 10**6, slowest=1.25), "split": stage(0.5),
    })  # fmt: skip
    assert rows == [
        ("scan", "2.0", "4", "1.5", "3", "0", "1.2"), ("split", "0.5", "", "", "", "", ""),
    ]  # fmt: skip
