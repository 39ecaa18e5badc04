"""Which frames are set aside for what was found of them, and the reasons that go with them."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.findings import CODES
from engine.intake import Intake
from engine.pixels import DAMAGED
from engine.policy import Policy

__all__ = ["reasons_aside", "set_aside"]


def set_aside(intake: Intake, policy: Policy, *, foreseen: bool = True) -> NDArray[np.bool_]:
    """Find frames with an error finding: their own, their video's, or one beside other frames.

    Args:
        intake: frames, and what was found of them.
        policy: what is an error.
        foreseen: False: without those that a dataset had planned for a split before their images
            turned out bad.

    Returns:
        bool (frames,).
    """
    issues = intake.issues
    if not foreseen:
        late = pc.is_in(issues["frame_id"], value_set=pa.array(list(intake.planned), pa.string()))
        of_images = pc.is_in(issues["code"], value_set=pa.array(DAMAGED))
        issues = issues.filter(pc.invert(pc.and_(late, of_images)))
    bad = issues.filter(pc.is_in(issues["code"], value_set=pa.array(policy.errors)))
    of_videos = [code for code, known in CODES.items() if known.unit == "video"]
    whole = bad.filter(pc.is_in(bad["code"], value_set=pa.array(of_videos)))
    index = intake.index.table
    found = pc.or_(
        pc.is_in(index["id"], value_set=pc.unique(bad["frame_id"].drop_null())),
        pc.is_in(index["video_id"], value_set=pc.unique(whole["video_id"].drop_null())),
    )
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def reasons_aside(
    intake: Intake, aside: NDArray[np.bool_], policy: Policy
) -> dict[str, tuple[str, ...]]:
    """Say of each frame that is set aside why it is, by id of the frame."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    of_video: defaultdict[str, list[str]] = defaultdict(list)
    bad = intake.issues.filter(pc.is_in(intake.issues["code"], value_set=pa.array(policy.errors)))
    for row in bad.to_pylist():
        why = f"{row['code']}: {row['message']}"
        if row["frame_id"] is not None:
            reasons[row["frame_id"]].append(why)
        elif CODES[row["code"]].unit == "video":
            of_video[row["video_id"]].append(why)
    frames = intake.index.where(aside).table.select(["id", "video_id"]).to_pylist()
    return {row["id"]: (*reasons[row["id"]], *of_video[row["video_id"]]) for row in frames}
