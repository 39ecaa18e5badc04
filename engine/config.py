"""What a run is asked to do: one frozen record, checked when made.

Two records, because "the same inputs and configuration" decides whether a finished dataset is done:
`Config` holds what changes the bytes of the output, `Execution` only how fast they come.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import orjson

from engine.box_text import BoxStyle
from engine.caps import LARGEST_CAPS, Caps
from engine.choices import (
    BOX_STYLES,
    IMAGE_FILE_FORMATS,
    checked_ratios,
    number_between,
    of_kind,
    one_of,
    parse_format,
    real_number,
    whole_number,
)
from engine.errors import ConfigError
from engine.label_map import LabelMap
from engine.locations import require_location
from engine.policy import Policy
from engine.split_file import check_split_file
from engine.templates import Templates
from engine.thresholds import THRESHOLD_RANGES, Thresholds

__all__ = ["SPLIT_KEYS", "SPLIT_NAMES", "Config", "Execution", "records_of"]

SPLIT_NAMES = ("train", "validation", "test")

SPLIT_KEYS = (
    "split", "ratios", "seed", "group_by", "temporal_segments", "gap_sec", "folds", "split_file"
)  # fmt: skip
"""What can be said anew of a prepared dataset."""

_CHOICES = {
    "split": ("stratified", "temporal", "random"),
    "group_by": ("none", "video", "content"),
    "validation": ("strict", "standard"),
    "mask_order": ("auto", "row", "column"),
    "check_images": ("header", "structure", "decode"),
    "box_style": BOX_STYLES,
    "images": ("embed", "path"),
    "image_format": ("keep", "jpg"),
    "hf_image_column": ("image", "images", "both"),
    "runner": ("auto", "local", "processes", "ray"),
}
_WORDS = ("fail_on", "warn_on", "ignore", "exhaustive")
_TABLES = ("video_ids", "label_map", "templates")
_SWITCHES = ("temporal_segments", "pad_square")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the bytes of the output.

    Args:
        formats: output formats; each becomes a folder of OUT.
        split: how frames are assigned to splits.
        group_by: what is never divided between splits; None: videos under `temporal`, else nothing.
        temporal_segments: `temporal` may cut a video into stretches of time.
        gap_sec: time left out on both sides of such a cut together, seconds.
        folds: number of cross-validation folds to write beside the splits; None: none.
        split_file: a split.json whose assignment is to be used as it is; None: a new one is made.
        ratios: shares of train, validation and test; they sum to 1.
        seed: of the split and of the choice of texts.
        validation: strict: any error finding fails the run. standard: frames with error findings
            are set aside and the rest is prepared.
        fail_on: codes of findings that are errors here.
        warn_on: codes of findings that are warnings here.
        ignore: codes of findings that are notes here: they do not change the status.
        thresholds: figures from which a finding is one.
        box_style: how boxes are written in texts; columns stay in pixels.
        max_pixels: of the image as the trainer resizes it; needed by box style qwen25 alone.
        pad_square: boxes of style norm1 are of the image padded to a square.
        templates: sentences to use instead of the built-in ones, by kind of turn; None: those.
        label_map: other names for labels, by label or "<video_id>/<label>".
        exhaustive: labels of which every instance is annotated, so that a text may deny them.
        images: of `hf`: bytes in the dataset, or paths of files beside it.
        image_format: of images written as files: as they are, or as JPEG.
        hf_image_column: of `hf`: `image`, or `images` (a list of one), or both.
        frames: folder or ZIP of clean frames to use instead of the export's own.
        mask_order: the user's word on the order of mask runs; auto: by evidence.
        imbalance_ratio: largest to smallest class from which an imbalance is severe.
        check_images: how far an image is checked before it is taken over.
        label: of objects that have none in their export (SA-V); None: `object_<id>`.
        video_ids: names given by hand, by source as it was named.
        rows_per_shard: upper bound of rows in an Arrow file.
        shard_bytes: upper bound of image bytes in an Arrow file.
        caps: limits beyond which an input is refused.
    """

    formats: tuple[str, ...] = ("hf",)
    split: Literal["stratified", "temporal", "random"] = "stratified"
    group_by: Literal["none", "video", "content"] | None = None
    temporal_segments: bool = False
    # Neighbouring frames of a video look alike; after a second most scenes have moved on.
    gap_sec: float = 1.0
    folds: int | None = None
    split_file: Mapping[str, Any] | None = None
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 42
    validation: str = "strict"
    fail_on: tuple[str, ...] = ()
    warn_on: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    box_style: str = "norm1000"
    max_pixels: int | None = None
    pad_square: bool = False
    templates: Mapping[str, Any] | None = None
    label_map: Mapping[str, Any] = field(default_factory=dict)
    exhaustive: tuple[str, ...] = ()
    images: Literal["embed", "path"] = "embed"
    image_format: Literal["keep", "jpg"] = "keep"
    hf_image_column: Literal["image", "images", "both"] = "image"
    frames: str | None = None
    mask_order: Literal["auto", "row", "column"] = "auto"
    # KEEL, the repository of imbalanced data sets, calls a ratio of 9 and more "high imbalance".
    imbalance_ratio: float = 9.0
    check_images: str = "structure"
    label: str | None = None
    video_ids: Mapping[str, str] = field(default_factory=dict)
    # datasets writes 500 MB a file; a quarter of that keeps a task short, its repetition cheap, and
    # the workers busy to the end.
    rows_per_shard: int = 2000
    shard_bytes: int = 128 * 2**20
    caps: Caps = field(default_factory=Caps)

    def __post_init__(self) -> None:
        of_kind("formats", self.formats, list | tuple, "a list of formats")
        formats = dict.fromkeys(parse_format(name) for name in self.formats)
        object.__setattr__(self, "formats", tuple(formats))
        object.__setattr__(self, "ratios", checked_ratios(self.ratios))
        self._check_kinds()
        self._check_split()
        for name, choices in _CHOICES.items():
            optional = name == "group_by" and self.group_by is None
            if hasattr(self, name) and not optional:
                one_of(name, getattr(self, name), choices)
        self._check_numbers()
        Policy.of(self)
        _ = self.boxes, self.names, self.sentences  # to read them is to check them
        self._check_image_files()
        self._check_video_ids()
        if self.label is not None and not self.label.strip():
            raise ConfigError("label", "is empty", got=repr(self.label), expected="a name")

    def _check_numbers(self) -> None:
        whole_number("seed", self.seed, least=0)
        for name in ("rows_per_shard", "shard_bytes"):
            whole_number(name, getattr(self, name), least=1)
        for name, least, most in (("folds", 2, 100), ("max_pixels", 1, None)):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), least=least, most=most)
        for cap in fields(Caps):
            value, most = getattr(self.caps, cap.name), LARGEST_CAPS.get(cap.name)
            whole_number(f"caps.{cap.name}", value, least=1, most=most)
        for name, (low, high) in THRESHOLD_RANGES.items():
            number_between(f"thresholds.{name}", getattr(self.thresholds, name), low, high)
        real_number("imbalance_ratio", self.imbalance_ratio, above=1, expected="above 1")
        if self.gap_sec != 0:
            real_number("gap_sec", self.gap_sec, above=0, expected="0 or more seconds")

    def _check_video_ids(self) -> None:
        for source, name in self.video_ids.items():
            if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name[0] == ".":
                raise ConfigError(
                    f"video_ids: {source}", "not a name for a video", got=repr(name),
                    expected="a name without slashes that does not begin with a dot",
                )  # fmt: skip
        cases: dict[str, str] = {}
        for name in self.video_ids.values():
            if cases.setdefault(name.casefold(), name) != name:
                raise ConfigError(
                    "video_ids", "two names differ only in case, so they are one folder on some"
                    " file systems", got=f"{cases[name.casefold()]} and {name}",
                    expected="names that differ otherwise",
                )  # fmt: skip

    def _check_image_files(self) -> None:
        """Refuse what says how images are to be written where none are written so."""
        if not self.formats:
            raise ConfigError("formats", "no output format is given", expected="hf")
        if self.hf_image_column != "image" and "hf" not in self.formats:
            raise ConfigError(
                "hf_image_column", "is of the format hf, which is not asked for",
                got=repr(self.hf_image_column), expected="hf among the formats",
            )  # fmt: skip
        if self.images == "path" and "hf" not in self.formats:
            raise ConfigError(
                "images", "path is for format hf alone", got=f"formats {', '.join(self.formats)}",
                expected="hf among the formats", advice="add --format hf, or leave --images out",
            )  # fmt: skip
        written = {name for name in self.formats if name in IMAGE_FILE_FORMATS}
        if self.image_format == "jpg" and not written and self.images == "embed":
            raise ConfigError(
                "image_format", "no image is written as a file",
                got=f"formats {', '.join(self.formats)}",
                expected="one of " + ", ".join(IMAGE_FILE_FORMATS) + ", or --images path",
            )  # fmt: skip

    def _check_kinds(self) -> None:
        of_kind("frames", self.frames, str | None, "a folder, a ZIP or a URL")
        if self.frames is not None:
            require_location(self.frames)
        of_kind("label", self.label, str | None, "a name")
        of_kind("caps", self.caps, Caps, "a table of limits")
        of_kind("thresholds", self.thresholds, Thresholds, "a table of thresholds")
        for name in _TABLES:
            optional = name == "templates"
            kind = Mapping | None if optional else Mapping
            of_kind(name, getattr(self, name), kind, "a table")
        of_kind("split_file", self.split_file, Mapping | None, "the content of a split.json")
        for name in _SWITCHES:
            of_kind(name, getattr(self, name), bool, "true or false")
        for name in _WORDS:
            value = getattr(self, name)
            of_kind(name, value, list | tuple, "a list of words")
            for word in value:
                of_kind(name, word, str, "words")
            object.__setattr__(self, name, tuple(dict.fromkeys(value)))

    @property
    def boxes(self) -> BoxStyle:
        """How texts write boxes."""
        return BoxStyle(name=self.box_style, max_pixels=self.max_pixels, pad_square=self.pad_square)

    @property
    def keeps_images(self) -> bool:
        """Whether some format holds the images as they came, and not as JPEGs made of them."""
        embedded = "parquet" in self.formats or ("hf" in self.formats and self.images == "embed")
        return embedded or (self.image_format == "keep" and self.formats != ("revos",))

    @property
    def names(self) -> LabelMap:
        """The user's names for labels."""
        return LabelMap.of(self.label_map)

    @property
    def sentences(self) -> Templates:
        """The sentences of the texts."""
        return Templates.of(self.templates)

    def _check_split(self) -> None:
        """Refuse what contradicts itself about the split; a default never does."""
        if self.split_file is not None:
            self._check_split_file(self.split_file)
        elif self.temporal_segments:
            if self.split != "temporal":
                raise ConfigError("temporal_segments", "only temporal cuts videos", got=self.split,
                                  advice="use --split temporal, or leave it out")  # fmt: skip
            if self.group_by not in (None, "none"):
                raise ConfigError("group_by", "videos that are cut are not whole",
                                  got=self.group_by, advice="leave --temporal-segments or "
                                  "--group-by out")  # fmt: skip
        elif self.gap_sec != 1.0:
            raise ConfigError("gap_sec", "only --temporal-segments leaves a gap", got=self.gap_sec,
                              advice="use --temporal-segments, or leave it out")  # fmt: skip
        elif self.split == "temporal" and self.group_by == "none":
            raise ConfigError("group_by", "temporal keeps videos whole", got="none",
                              expected="video | content",
                              advice="use --temporal-segments to divide videos")  # fmt: skip

    def _check_split_file(self, document: Mapping[str, Any]) -> None:
        """Refuse a value that is neither the default nor what the file says."""
        check_split_file(document)
        ratios = document.get("ratios")
        if ratios is not None:
            of_kind("split_file: ratios", ratios, Mapping, "a ratio for each split")
            ratios = checked_ratios([ratios.get(name, 0.0) for name in SPLIT_NAMES])
        said = {
            "split": document.get("strategy"), "ratios": ratios, "gap_sec": document.get("gap_sec"),
            "group_by": document.get("group_by"),
            "temporal_segments": document.get("temporal_segments"),
        }  # fmt: skip
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in said and value not in (f.default, said[f.name]):
                raise ConfigError(
                    f.name, "contradicts the split file", got=value, expected=said[f.name],
                    advice="leave it out: the file says what is assigned where",
                )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Give the record as JSON types, keys sorted, for manifest and comparison.

        A split file may be long: its digest stands for it.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("formats", "ratios", *_WORDS):
            plain[name] = list(plain[name])
        for name in _TABLES:
            plain[name] = None if plain[name] is None else dict(sorted(plain[name].items()))
        if self.split_file is not None:
            content = orjson.dumps(dict(self.split_file), option=orjson.OPT_SORT_KEYS)
            plain["split_file"] = hashlib.sha256(content).hexdigest()
        plain["caps"] = dict(sorted(asdict(self.caps).items()))
        plain["thresholds"] = dict(sorted(asdict(self.thresholds).items()))
        return dict(sorted(plain.items()))


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is executed; nothing here changes a byte of the output.

    Args:
        workers: tasks at once; None: all cores.
        address: of a Ray cluster to use; None: an instance of its own.
        runner: local: in this process. processes: in several of this machine. ray: on Ray. auto:
            on a cluster that is given Ray, else by how much there is to read.
        frames_per_range: frames one scan task parses.
        resume: False: begin anew even where an unfinished run of the same could be continued.
    """

    workers: int | None = None
    address: str | None = None
    runner: str = "auto"
    # About 250 KB of JSON a hundred frames: a range is parsed in well under a second.
    frames_per_range: int = 500
    resume: bool | None = None

    def __post_init__(self) -> None:
        one_of("runner", self.runner, _CHOICES["runner"])
        of_kind("address", self.address, str | None, "the address of a Ray cluster")
        whole_number("frames_per_range", self.frames_per_range, least=1)
        of_kind("resume", self.resume, bool | None, "true or false")
        if self.workers is not None:
            whole_number("workers", self.workers, least=1)
        if self.runner in ("local", "processes") and self.address:
            raise ConfigError("runner", f"{self.runner}, but an address of a Ray cluster is given")


def records_of(
    config: Config | None = None, execution: Execution | None = None
) -> tuple[Config, Execution]:
    """Take the records of a call; None: the defaults.

    Raises:
        ConfigError: one of them is no such record, a dict for example.
    """
    of_kind("config", config, Config | None, "an engine.Config, for example Config(seed=7)")
    of_kind("execution", execution, Execution | None, "an engine.Execution")
    return config or Config(), execution or Execution()
