"""`OUT/hf/README.md`: the dataset card, so that an uploaded folder is a right dataset page.

The header is made by huggingface_hub's own card classes, which the hub reads it with. It names the
data files of each split, because a folder in the layout of `save_to_disk` names them only in files
that the hub does not look at: with it `load_dataset` and the viewer find every split, and
`load_from_disk` goes on as if there were no card. Nothing a user wrote is in the header; labels and
file names stand in the text, escaped and bounded. No version, no time: the card is the same bytes
for the same inputs.
"""

from collections.abc import Mapping
from typing import Any

from engine.visible import markdown

__all__ = ["card_text", "yaml_features"]

_CLASSES, _EXPORTS, _FINDINGS = 200, 100, 50
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"),
          (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))  # fmt: skip
_TASKS = ["image-text-to-text", "object-detection", "image-segmentation"]

_COLUMNS = {
    "id": "`<video_id>/<frame_index>`, unique",
    "image": "the frame",
    "images": "the frame, in a list of one",
    "conversations": "question and answer pairs, `<image>` first",
    "messages": "the same as role and content blocks",
    "masks": "COCO compressed RLE in image pixels: `pycocotools.mask.decode(row['masks'][i])`",
    "bounding_boxes": "x, y, width, height in pixels, from the masks",
    "labels": "one a mask, as `object_ids`, `areas` (pixels) and `confidences` are",
    "video_id": "frames of a video look alike: see the splits above",
    "frame_index": "in the video, as `timestamp_sec` (seconds) is",
    "width": "in pixels, as `height` is",
}


def yaml_features(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bring features to the form that a card's header has them in.

    Args:
        columns: in the notation of `engine.hf_layout`.
    """
    return [{"name": name} | _yaml_feature(feature) for name, feature in columns.items()]


def _yaml_feature(feature: Any) -> dict[str, Any]:
    if isinstance(feature, list):
        inner = _yaml_feature(feature[0])
        return {"list": inner["dtype"] if set(inner) == {"dtype"} else inner.get("struct", inner)}
    kind = feature.get("_type")
    if kind == "Value":
        return {"dtype": feature["dtype"]}
    if kind == "Image":
        return {"dtype": "image"}
    return {"struct": yaml_features(feature)}


def card_text(
    document: Mapping[str, Any],
    split: Mapping[str, Any],
    columns: Mapping[str, Any],
    split_bytes: Mapping[str, int],
    *,
    content: str,
    movable: bool = True,
) -> str:
    """Write the card.

    Args:
        document: as validation.json holds it.
        split: what split.json holds.
        columns: features, in the notation of `engine.hf_layout`.
        split_bytes: size of the Arrow files by split, in the order of the splits; one without rows
            is not among them.
        content: digest of the files: `datasets` keys its cache by this header.
        movable: it holds its images, instead of naming them by their paths on this machine.

    Returns:
        Markdown with a YAML header.
    """
    from huggingface_hub import DatasetCard, DatasetCardData  # half a second

    sizes = {name: split["sizes"][name] for name in split_bytes}
    total = sum(sizes.values())
    data = DatasetCardData(
        language=["en"],
        task_categories=_TASKS,
        size_categories=[next((name for most, name in _SIZES if total < most), "n>10M")],
        pretty_name="Video frames with SAM 2 masks",
        tags=["sam2", "video", "instance-segmentation", "rle-masks"],
        configs=[
            {
                "config_name": "default",
                "description": f"content {content}",
                "data_files": [{"split": name, "path": f"{name}/data-*.arrow"} for name in sizes],
            }
        ],
        dataset_info={
            "features": yaml_features(columns),
            "splits": [
                {"name": name, "num_bytes": split_bytes[name], "num_examples": size}
                for name, size in sizes.items()
            ],
            "download_size": sum(split_bytes.values()),
            "dataset_size": sum(split_bytes.values()),
        },
    )
    body = "\n".join(_body(document, split, sizes, columns, movable=movable))
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def _body(
    document: Mapping[str, Any],
    split: Mapping[str, Any],
    sizes: Mapping[str, int],
    columns: Mapping[str, Any],
    *,
    movable: bool,
) -> list[str]:
    hub = ['data = datasets.load_dataset("NAMESPACE/NAME")          # from the hub']
    lines = [
        "# Video frames with SAM 2 masks",
        "",
        "Made by sam2prep from SAM 2 video annotations. "
        f"Frames: {sum(sizes.values()):,}; videos: {document['videos']:,}; visible objects: "
        f"{sum(document['class_counts'].values()):,}. Validation: {document['status']}.",
        "",
        "## How to load it",
        "",
        "```python",
        "import datasets",
        'data = datasets.load_from_disk("PATH OF THIS FOLDER")   # a local copy',
        *(hub if movable else []),
        "```",
    ]
    if not movable:
        lines += ["", "Images are named by their full paths: it is read where it was written."]
    lines += ["", "## Splits", "", "| split | frames |", "|---|---|"]
    lines += [f"| {name} | {size:,} |" for name, size in sizes.items()]
    lines += ["", f"Split: {split['strategy']}, seed {split['seed']}.", "", "## Columns", ""]
    lines += ["| column | what |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in _COLUMNS.items() if name in columns]
    return lines + _classes(document) + _issues(document) + _provenance(document)


def _classes(document: Mapping[str, Any]) -> list[str]:
    counts = sorted(document["class_counts"].items(), key=lambda item: (-item[1], item[0]))
    lines = ["", "## Classes", "", "| label | instances |", "|---|---|"]
    lines += [f"| {markdown(label, 60)} | {count:,} |" for label, count in counts[:_CLASSES]]
    return lines + _more(len(counts) - _CLASSES, "classes")


def _issues(document: Mapping[str, Any]) -> list[str]:
    lines = ["", "## Known issues", ""]
    findings = document["findings"]
    if not findings:
        return [*lines, "The checks found none."]
    lines += [
        f"- {f['severity']} `{f['code']}`: {markdown(f['message'], 300)}"
        for f in findings[:_FINDINGS]
    ]
    return lines + _more(len(findings) - _FINDINGS, "kinds of findings")


def _provenance(document: Mapping[str, Any]) -> list[str]:
    exports = document["exports"]
    lines = ["", "## Provenance", "", "| export | video | frame records |", "|---|---|---|"]
    lines += [
        f"| {markdown(e['source'], 80)} | {markdown(e['video_id'], 80)} | {e['frame_records']:,} |"
        for e in exports[:_EXPORTS]
    ]
    return [
        *lines,
        *_more(len(exports) - _EXPORTS, "exports"),
        "",
        "How masks were read and checked, with every finding, is in the report that was written "
        "beside this dataset.",
    ]


def _more(count: int, what: str) -> list[str]:
    return ["", f"and {count:,} more {what}"] if count > 0 else []
