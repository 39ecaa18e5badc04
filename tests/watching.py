"""The test's end of `tests/watched`: orders to workers, and what they have begun and ended."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Watch:
    """What workers are told, and what they leave."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Variables of the processes to be watched; the driver is not to be one of them."""
        return {
            "WATCHED": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/watched"), str(ROOT)]),
        }

    def order(self, **orders: object) -> None:
        """Replace all orders, and forget what was left."""
        for name in ("begun", "ended"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        for mark in self.folder.iterdir():
            if mark.is_file():
                mark.unlink()
        new = self.folder / "orders.new"
        new.write_text(json.dumps(orders))
        new.rename(self.folder / "orders.json")

    def sessions(self, stage: str, *, unfinished: bool = False) -> list[int]:
        """Sessions of the nodes with a task of the stage, one entry a task."""
        return [session for session, _ in self._tasks(stage, unfinished)]

    def processes(self, stage: str) -> list[int]:
        """Ids of the processes that are at a task of the stage."""
        return [pid for _, pid in self._tasks(stage, unfinished=True)]

    def _tasks(self, stage: str, unfinished: bool) -> list[tuple[int, int]]:
        begun, ended = (
            {path.name for path in (self.folder / kind).iterdir()} for kind in ("begun", "ended")
        )
        names = sorted(begun - ended if unfinished else begun)
        words = [name.split("-") for name in names if name.startswith(f"{stage}-")]
        return [(int(session), int(pid)) for _, session, pid, _ in words]
