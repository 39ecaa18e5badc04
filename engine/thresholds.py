"""The figures from which a finding is one: `[thresholds]` of the configuration file.

Here are those that depend on what was filmed or on the tool that exported it, so that a user can
know better than we do. Left out on purpose are the tolerances that guard a mask's text (its runs
must sum to its grid, its declared area must be right: what README says of corrupted masks holds for
none), the votes by which order and paint are found, and the likeness by which two exports are one
video (`--video-id` overrules that).
"""

from dataclasses import dataclass

__all__ = ["THRESHOLD_RANGES", "Thresholds"]

THRESHOLD_RANGES: dict[str, tuple[float, float]] = {
    "area_jump_factor": (1.05, 1000.0),
    "area_jump_normal": (1.0, 1000.0),
    "bbox_px": (0.0, 10_000.0),
    "black_level": (0, 64),
    "centroid_jump_normal": (1.0, 1000.0),
    "centroid_jump_share": (0.001, 1.0),
    "flicker_frames": (1, 100),
    "frozen_steps": (2, 10_000),
    "painted_share": (0.05, 1.0),
    "timestamp_sec": (0.0, 3600.0),
}
"""Least and most of each; whole numbers where both ends are written as such."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Thresholds of one run; `Config` checks their ranges.

    Args:
        area_jump_factor: `area_jump`: a change of area by this factor at least. 1.7 was chosen on
            simulated tracks (`engine.track_motion`), as the next one and the centroid's.
        area_jump_normal: and by so many times what is usual on the same track.
        bbox_px: `bbox_mismatch`: a declared box may be off by so much on each side. Exporters round
            to whole pixels in their own ways.
        black_level: `image_black`: of 255, what still counts as black. JPEG rounds to 1 or 2.
        centroid_jump_normal: `centroid_jump`: a step of so many times the track's usual one.
        centroid_jump_share: and of this share of the frame's diagonal at least.
        flicker_frames: `object_flicker`: exported frames that an object is missing from, at most.
        frozen_steps: `mask_frozen`: frame-to-frame steps in which a mask stays the same, at least.
        painted_share: `overlay_burned_in`: share of an object's boundary that is a line of its
            overlay colour (measured rates: `engine.dialect`).
        timestamp_sec: `timestamp_mismatch`: seconds that a time may be off in any case; half the
            time between two frames is allowed as well.
    """

    area_jump_factor: float = 1.7
    area_jump_normal: float = 4.0
    bbox_px: float = 1.0
    black_level: int = 2
    centroid_jump_normal: float = 6.0
    centroid_jump_share: float = 0.06
    flicker_frames: int = 2
    frozen_steps: int = 2
    painted_share: float = 0.35
    timestamp_sec: float = 0.002
