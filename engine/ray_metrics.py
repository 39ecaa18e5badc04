"""What tasks have done, as metrics of the Ray cluster that runs them, for Prometheus to fetch.

The second seam to Ray, beside `engine.pipeline`: nothing here runs tasks. Each node's Ray serves
the metrics of its processes over HTTP, with `ray_` before their names, and keeps the sums of those
that have ended (https://docs.ray.io/en/latest/cluster/metrics.html). The tags are stages and
finding codes: as many series as the program has of these, whatever is read.

A worker that is killed takes what it counted in the last ten seconds along, and a task whose result
was lost counts twice: these are figures of work done; those of the dataset are in `summary.json`.
Ray makes the sum of a histogram of its buckets, so the exact seconds are a counter.
"""

from engine.measures import Measures

__all__ = ["METRICS", "SECONDS_BUCKETS", "export_measures"]

METRICS = {
    "sam2prep_frames_checked": "Frames whose annotations and images were checked",
    "sam2prep_masks_checked": "Masks checked",
    "sam2prep_samples_written": "Rows written to shards, those set aside too",
    "sam2prep_bytes_read": "Bytes read by tasks",
    "sam2prep_bytes_written": "Bytes written by tasks",
    "sam2prep_findings": "Data problems found by tasks, by code",
    "sam2prep_tasks_done": "Tasks finished",
    "sam2prep_tasks_taken_over": "Tasks that an earlier attempt of the run had done",
    "sam2prep_task_retries": "Attempts at tasks that were lost, with their worker or node",
    "sam2prep_busy_seconds": "Seconds that workers were at tasks",
    "sam2prep_task_seconds": "Seconds of a task",
}
"""Name and meaning of every metric. `task_seconds` is a histogram, the others are counters."""

SECONDS_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0)
"""Upper bounds of the histogram, in seconds."""


def export_measures(measures: Measures) -> None:
    """Add what a task has done to the metrics of this process, which is connected to Ray.

    Args:
        measures: of one finished task.
    """
    from ray.util.metrics import Histogram

    tags = {"stage": measures.stage}
    numbers: dict[str, float] = {
        **measures.counts,
        "tasks_done": 1,
        "task_retries": measures.retries,
        "busy_seconds": measures.seconds,
    }
    for name, number in numbers.items():
        _count(f"sam2prep_{name}", number, tags)
    for code, number in measures.findings.items():
        _count("sam2prep_findings", number, {"code": code})
    name = "sam2prep_task_seconds"
    histogram = Histogram(
        name, METRICS[name], boundaries=list(SECONDS_BUCKETS), tag_keys=("stage",)
    )
    histogram.observe(measures.seconds, tags)


def _count(name: str, number: float, tags: dict[str, str]) -> None:
    """Made anew each time: one made before Ray was started again would count for nobody."""
    from ray.util.metrics import Counter

    if number > 0:
        Counter(name, METRICS[name], tag_keys=tuple(tags)).inc(number, tags)
