"""What is an error, a warning or a note in this run: the table of codes, and the user's say.

Every place that asks for a severity asks here, so that what fails a run is also what sets a frame
aside, and what is ignored is still listed and counted. A code cannot be made harmless if no row can
be made of what it names: there would be nothing to write, or something that is wrong by itself.
"""

import difflib
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError
from engine.findings import CODES, Severity

__all__ = ["HARD_CODES", "Policy"]

HARD_CODES: dict[str, str] = {
    "export_crashed": "nothing of it was read",
    "frame_crashed": "it was not read",
    "frame_conflict": "two rows would have one id",
    "frame_malformed": "no row can be made of a record that cannot be read",
    "image_ambiguous": "which image belongs to the frame is not known",
    "image_missing": "there is no image to write",
    "image_orientation": "datasets turns such an image when it opens it, and the masks lie beside "
    "the objects",
    "image_truncated": "readers stop with an error at such an image",
    "image_unreadable": "readers stop with an error at such an image",
    "mask_malformed": "there is no mask to write",
    "mask_size_mismatch": "a mask is never resampled by guess",
    "missing_annotations": "whether nothing is in such a frame, or nobody looked, is not known",
    "object_malformed": "there is no mask or no label to write",
}
"""Codes that stay errors, each with the reason; `--validation standard` sets their frames aside."""

_LISTS = {"fail_on": Severity.ERROR, "warn_on": Severity.WARNING, "ignore": Severity.NOTE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The severities in force.

    Args:
        fail_on: codes that are errors here.
        warn_on: codes that are warnings here.
        ignore: codes that are notes here: listed and counted, without a say in the status.

    Raises:
        ConfigError: an unknown code (with the nearest known one), a code in two lists, or one that
            cannot be made harmless.
    """

    fail_on: tuple[str, ...] = ()
    warn_on: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in _LISTS:
            for code in getattr(self, name):
                _check(name, code)
                if code in seen:
                    raise ConfigError(
                        name, f"{code} is in {seen[code]} as well",
                        expected="a code in one of fail_on, warn_on and ignore",
                    )  # fmt: skip
                seen[code] = name

    @classmethod
    def of(cls, config: Any) -> "Policy":
        """Take the policy out of a `Config`."""
        return cls(fail_on=config.fail_on, warn_on=config.warn_on, ignore=config.ignore)

    def severity(self, code: str) -> Severity:
        """Give the severity of a known code in this run."""
        for name, severity in _LISTS.items():
            if code in getattr(self, name):
                return severity
        return CODES[code].severity

    @property
    def errors(self) -> list[str]:
        """The codes that are errors here, sorted."""
        return sorted(code for code in CODES if self.severity(code) is Severity.ERROR)


def _check(name: str, code: str) -> None:
    if code not in CODES:
        near = difflib.get_close_matches(code, CODES, n=1, cutoff=0.4)
        raise ConfigError(
            name, "no such finding code", got=repr(code),
            advice=f"did you mean {near[0]}?" if near else "the codes are listed in the README",
        )  # fmt: skip
    if name != "fail_on" and code in HARD_CODES:
        raise ConfigError(
            name, f"{code} stays an error: {HARD_CODES[code]}",
            advice="--validation standard sets such frames aside and prepares the rest",
        )  # fmt: skip
