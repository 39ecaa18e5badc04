"""What a run is asked to do: one frozen record, checked when made.

Two records, because "the same inputs and configuration" decides whether a finished dataset is done:
`Config` holds what changes the bytes of the output, `Execution` only how fast they come.
"""

import difflib
import math
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from engine.caps import LARGEST_CAPS, Caps
from engine.errors import ConfigError

__all__ = [
    "SPLIT_NAMES",
    "Config",
    "Execution",
    "config_from",
    "parse_format",
    "parse_ratios",
    "read_config_file",
]

SPLIT_NAMES = ("train", "validation", "test")

_FORMATS = {"hf": "hf", "huggingface": "hf", "huggingface dataset": "hf"}
_CHOICES = {
    "split": ("stratified", "temporal", "random"),
    "validation": ("strict", "standard"),
    "mask_order": ("auto", "row", "column"),
    "check_images": ("header", "structure", "decode"),
    "box_style": ("norm1000", "xywh", "xyxy"),
    "runner": ("auto", "local", "ray"),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the bytes of the output.

    Args:
        formats: output formats; each becomes a folder of OUT.
        split: how frames are assigned to splits.
        ratios: shares of train, validation and test; they sum to 1.
        seed: of the split and of the choice of texts.
        validation: strict: any error finding fails the run. standard: frames with error findings
            are set aside and the rest is prepared.
        box_style: how boxes are written in texts; columns stay in pixels.
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
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 42
    validation: str = "strict"
    box_style: str = "norm1000"
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
        _of_kind("formats", self.formats, list | tuple, "a list of formats")
        object.__setattr__(self, "formats", tuple(parse_format(name) for name in self.formats))
        object.__setattr__(self, "ratios", _checked_ratios(self.ratios))
        _of_kind("frames", self.frames, str | None, "a folder, a ZIP or a URL")
        _of_kind("label", self.label, str | None, "a name")
        if self.label is not None and not self.label.strip():
            raise ConfigError("label", "is empty", got=repr(self.label), expected="a name")
        _of_kind("video_ids", self.video_ids, Mapping, "a table of SRC = NAME")
        if not self.formats:
            raise ConfigError("formats", "no output format is given", expected="hf")
        for name, choices in _CHOICES.items():
            if hasattr(self, name):
                _one_of(name, getattr(self, name), choices)
        _whole_number("seed", self.seed, least=0)
        for name in ("rows_per_shard", "shard_bytes"):
            _whole_number(name, getattr(self, name), least=1)
        _of_kind("caps", self.caps, Caps, "a table of limits")
        for cap in fields(Caps):
            value, most = getattr(self.caps, cap.name), LARGEST_CAPS.get(cap.name)
            _whole_number(f"caps.{cap.name}", value, least=1, most=most)
        ratio = self.imbalance_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not ratio > 1:
            raise ConfigError("imbalance_ratio", "not a ratio", got=ratio, expected="above 1")
        for source, name in self.video_ids.items():
            if not isinstance(name, str) or not name or set(name) & set("/\\\0") or name[0] == ".":
                raise ConfigError(
                    f"video_ids: {source}", "not a name for a video", got=repr(name),
                    expected="a name without slashes that does not begin with a dot",
                )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Give the record as JSON types, keys sorted, for manifest and comparison."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain |= {"formats": list(self.formats), "ratios": list(self.ratios)}
        plain["video_ids"] = dict(sorted(self.video_ids.items()))
        plain["caps"] = dict(sorted(asdict(self.caps).items()))
        return dict(sorted(plain.items()))


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is executed; nothing here changes a byte of the output.

    Args:
        workers: tasks at once; None: all cores.
        address: of a Ray cluster to use; None: an instance of its own.
        runner: local: in this process. ray: on Ray. auto: in this process while the work is
            smaller than starting Ray would cost.
        frames_per_range: frames one scan task parses.
    """

    workers: int | None = None
    address: str | None = None
    runner: str = "auto"
    # About 250 KB of JSON a hundred frames: a range is parsed in well under a second.
    frames_per_range: int = 500

    def __post_init__(self) -> None:
        _one_of("runner", self.runner, _CHOICES["runner"])
        _of_kind("address", self.address, str | None, "the address of a Ray cluster")
        _whole_number("frames_per_range", self.frames_per_range, least=1)
        if self.workers is not None:
            _whole_number("workers", self.workers, least=1)
        if self.runner == "local" and self.address:
            raise ConfigError("runner", "local, but an address of a Ray cluster is given")

    @property
    def worker_count(self) -> int:
        """Tasks at once on this machine."""
        return self.workers or os.cpu_count() or 1


def parse_format(name: object) -> str:
    """Bring the name of an output format to its short form; case does not matter.

    Raises:
        ConfigError: no such format.
    """
    known = _FORMATS.get(str(name).strip().lower())
    if known is None:
        raise ConfigError("format", "no such output format", got=repr(name), expected="hf")
    return known


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Read `0.8/0.1/0.1` or `train=0.8,val=0.1,test=0.1` (`val` stands for `validation`).

    Raises:
        ConfigError: another form, or shares that are no shares or do not sum to 1.
    """
    names = {"train": 0, "validation": 1, "val": 1, "test": 2}
    values: list[float] = [0.0, 0.0, 0.0]
    try:
        if "=" in text:
            seen: set[int] = set()
            for part in text.split(","):
                key, _, value = part.partition("=")
                place = names[key.strip().lower()]
                if place in seen:
                    raise ConfigError("ratios", f"{key.strip()} is given twice", got=repr(text))
                seen.add(place)
                values[place] = float(value)
        else:
            values = [float(part) for part in text.split("/")]
    except (KeyError, ValueError):
        values = []
    if len(values) != 3:
        raise ConfigError(
            "ratios", "not understood", got=repr(text),
            expected="0.8/0.1/0.1 or train=0.8,val=0.1,test=0.1",
        )  # fmt: skip
    return _checked_ratios(values)


def _checked_ratios(values: Any) -> tuple[float, float, float]:
    if isinstance(values, str):
        return parse_ratios(values)
    _of_kind("ratios", values, list | tuple, "three numbers from 0 to 1")
    if len(values) != 3 or not all(
        isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in values
    ):
        raise ConfigError(
            "ratios", "not three shares", got=list(values), expected="numbers from 0 to 1"
        )
    total = math.fsum(values)
    if abs(total - 1) > 1e-6:
        raise ConfigError(
            "ratios", "train, validation and test do not sum to 1",
            got="/".join(f"{v:g}" for v in values) + f" = {total:g}", expected="a sum of 1",
            advice="for example --ratios 0.8/0.1/0.1",
        )  # fmt: skip
    return (float(values[0]), float(values[1]), float(values[2]))


def _of_kind(name: str, value: object, kind: Any, expected: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(name, "of the wrong kind", got=repr(value), expected=expected)


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        raise ConfigError(
            name, "no such choice", got=repr(value), expected=" | ".join(choices),
            advice=f"did you mean {near[0]}?" if near else None,
        )  # fmt: skip


def _whole_number(name: str, value: object, *, least: int, most: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigError(name, "not a whole number in range", got=repr(value), expected=expected)


def config_from(values: Mapping[str, Any]) -> tuple[Config, Execution]:
    """Make the two records from one flat mapping, as a TOML file or the command line gives it.

    Keys may be spelled with hyphens; values that are None mean "not given".

    Raises:
        ConfigError: an unknown key (with the nearest known one), or a value out of range.
    """
    known = {f.name: f for kind in (Config, Execution) for f in fields(kind)}
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        name = {"format": "formats", "video_id": "video_ids"}.get(name, name)
        if name not in known:
            raise _unknown_key(key, name, known)
        if value is not None:
            given[name] = _coerced(known[name].type, value)
    own = {f.name for f in fields(Execution)}
    return (
        Config(**{k: v for k, v in given.items() if k not in own}),
        Execution(**{k: v for k, v in given.items() if k in own}),
    )


def _unknown_key(key: str, name: str, known: Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
    return ConfigError(key, "no such configuration key", advice=advice)


def _caps_of(table: Mapping[str, Any]) -> Caps:
    known = [cap.name for cap in fields(Caps)]
    given = {key.replace("-", "_"): value for key, value in table.items()}
    for name in given:
        if name not in known:
            raise _unknown_key(f"caps.{name}", name, known)
    return Caps(**given)


def _coerced(kind: Any, value: Any) -> Any:
    """Bring TOML's lists, single words and tables to what the records hold; judge no value."""
    if kind is Caps and isinstance(value, Mapping):
        return _caps_of(value)
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return (value,) if isinstance(value, str) else value
    if isinstance(value, list):
        return tuple(value)
    return value


def read_config_file(path: str) -> dict[str, Any]:
    """Read a TOML configuration file: the names of the long options, at the top level.

    Raises:
        ConfigError: the file is not there or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"is not valid TOML: {error}") from error
