"""What to do about classes of very different size: how much is missing, where, and weights.

Weights are those of repeat-factor sampling (Gupta, Dollár and Girshick, "LVIS", CVPR 2019, section
4.2): a class c that is in a share f(c) of the frames gets r(c) = max(1, sqrt(t / f(c))), a frame
the largest r of its classes. LVIS sets t = 0.001 for its 1,203 classes; here t is the share of the
most frequent class, so that the weights do something for three classes as well. The root is the
compromise: with 1 / f a class of ten frames would be seen until it is learned by heart.

Rows of one video follow each other and mostly show the same classes, so weights are written as runs
of equal ones: a million rows stay small.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["class_advice", "missing_instances", "repeat_factors", "row_weights", "weights_document"]

# Bounds of what the report says of classes; a corpus may have thousands of rare ones.
_CLASSES_LISTED, _VIDEOS_LISTED = 100, 20
_DIGITS = 4  # of a weight, after the point


def missing_instances(largest: int, count: int, threshold: float) -> int:
    """How many more instances a class needs for the imbalance not to be severe.

    Args:
        largest: instances of the largest class.
        count: instances of this class.
        threshold: the ratio from which an imbalance is severe.

    Returns:
        The smallest m >= 0 with largest < threshold * (count + m).
    """
    missing = max(0, math.floor(largest / threshold) - count)
    while largest >= threshold * (count + missing):
        missing += 1
    while missing and largest < threshold * (count + missing - 1):  # the quotient was rounded up
        missing -= 1
    return missing


def class_advice(
    frames: pa.Table, class_counts: Mapping[str, int], imbalance: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Say of each minority class what is missing and which videos hold it.

    Args:
        frames: columns `labels` (list of string) and `video_id`.
        class_counts: instances by label.
        imbalance: as `quality.imbalance_of` gives it.

    Returns:
        The classes with the fewest instances first, at most 100; of the videos of each those with
        the most instances, at most 20, and how many there are.
    """
    largest, threshold = class_counts[imbalance["largest"]], imbalance["threshold"]
    few = sorted(imbalance["minority"], key=lambda label: (class_counts[label], label))
    few = few[:_CLASSES_LISTED]
    lists = frames["labels"].combine_chunks()
    labels = pc.list_flatten(lists)
    videos = frames["video_id"].combine_chunks().take(pc.list_parent_indices(lists))
    wanted = pc.is_in(labels, value_set=pa.array(few, pa.string()))
    pairs = pa.table({"label": labels.filter(wanted), "video": videos.filter(wanted)})
    counted = pairs.group_by(["label", "video"]).aggregate([([], "count_all")]).to_pylist()
    counted.sort(key=lambda row: (-row["count_all"], row["video"]))
    advice = []
    for label in few:
        own = [row for row in counted if row["label"] == label]
        advice.append(
            {
                "label": label,
                "instances": class_counts[label],
                "missing": missing_instances(largest, class_counts[label], threshold),
                "videos_in_all": len(own),
                "videos": [
                    {"video_id": row["video"], "instances": row["count_all"]}
                    for row in own[:_VIDEOS_LISTED]
                ],
            }
        )
    return advice


def repeat_factors(frames_of_class: Mapping[str, int], frames: int) -> dict[str, float]:
    """Give each class its repeat factor.

    Args:
        frames_of_class: number of frames with at least one instance, by label; each at least 1.
        frames: in all.

    Returns:
        Factors of 1 or more by label, rounded to 4 places; 1 for the most frequent class.
    """
    if not frames_of_class or not frames:
        return {}
    most = max(frames_of_class.values())
    return {
        label: round(max(1.0, math.sqrt(most / count)), _DIGITS)
        for label, count in sorted(frames_of_class.items())
    }


def row_weights(labels: pa.ListArray, factors: Mapping[str, float]) -> NDArray[np.float64]:
    """Give each row the largest factor of its classes.

    Args:
        labels: list of string, one list a row, in the order of the rows.
        factors: by label.

    Returns:
        float64 (rows,); 1 for a row without objects.
    """
    weights = np.ones(len(labels))
    flat = pc.list_flatten(labels).dictionary_encode()
    of_name = np.array([factors[name] for name in flat.dictionary.to_pylist()], dtype=np.float64)
    if len(of_name):
        rows = pc.list_parent_indices(labels).to_numpy(zero_copy_only=False)
        np.maximum.at(weights, rows, of_name[flat.indices.to_numpy(zero_copy_only=False)])
    return weights


def weights_document(labels: pa.ListArray, split: str = "train") -> dict[str, Any]:
    """Make what `report/sampling_weights.json` holds.

    `numpy.repeat(document["values"], document["counts"])` is one weight a row, as
    `torch.utils.data.WeightedRandomSampler` takes them.

    Args:
        labels: list of string, one list a row of the split, in the order of its rows.
        split: its name.
    """
    rows = pc.list_parent_indices(labels).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(labels).dictionary_encode()
    names = flat.dictionary.to_pylist()
    places = flat.indices.to_numpy(zero_copy_only=False)
    instances = np.bincount(places, minlength=len(names)) if names else np.zeros(0, np.int64)
    # Sorted here: numpy 2.4's unique goes by hash, which takes 8 s for 2.5 million such numbers.
    pairs = np.sort(rows.astype(np.int64) * max(len(names), 1) + places)
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    frames = np.bincount(pairs % max(len(names), 1), minlength=len(names))
    held = {name: int(frames[k]) for k, name in enumerate(names)}
    factors = repeat_factors(held, len(labels))
    weights = row_weights(labels, factors)
    starts = np.flatnonzero(np.diff(weights, prepend=np.nan) != 0) if len(weights) else np.zeros(0)
    counts = np.diff(np.append(starts, len(weights))).astype(np.int64)
    return {
        "split": split,
        "rows": len(labels),
        "method": "repeat-factor sampling (LVIS, Gupta et al. 2019), r = sqrt(t / f), t = the "
        "share of the most frequent class; a row has the largest r of its classes",
        "use": 'numpy.repeat(weights["values"], weights["counts"]): one weight a row, in row order',
        "classes": {
            name: {
                "frames": held[name],
                "instances": int(instances[k]),
                "repeat_factor": factors[name],
            }
            for k, name in sorted(enumerate(names), key=lambda pair: pair[1])
        },
        "values": weights[starts.astype(np.int64)].tolist(),
        "counts": counts.tolist(),
    }
