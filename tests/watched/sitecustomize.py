"""Lets a test watch, delay and kill what workers do: Python loads it, being found on its path.

`WATCHED` names a folder. A task of the stages scan and write leaves `<stage>-<session>-<pid>-<n>`
in its `begun`, and in its `ended` when it is done; the session is that of the node. What is to
happen is read from its `orders.json` at the moment of the call:

    delay            seconds that every task takes longer
    delay_of         the same, by session
    open, scan, write, draw, compose   names of exports, ids of frames: who handles them is killed
    track            names of videos: whoever follows their tracks is killed
    once             the same, but killed only while there is no file of that name in the folder
    apart            true: whoever starts a process apart is killed, as by a lack of memory
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["WATCHED"]) if "WATCHED" in os.environ else None


def orders():
    try:
        return json.loads((FOLDER / "orders.json").read_text())
    except FileNotFoundError:
        return {}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def handle(kind, name):
    """Die where it was ordered."""
    given = orders()
    if name in given.get(kind, ()):
        die()
    if name in given.get("once", ()):
        mark = FOLDER / name.replace("/", "-")
        if not mark.exists():
            mark.touch()
            die()


def watched(stage, function):
    count = 0

    def call(task):
        nonlocal count
        count += 1
        session = os.getsid(0)
        name = f"{stage}-{session}-{os.getpid()}-{count}"
        (FOLDER / "begun" / name).touch()
        given = orders()
        time.sleep(given.get("delay", 0) + given.get("delay_of", {}).get(str(session), 0))
        result = function(task)
        (FOLDER / "ended" / name).touch()
        return result

    # Pickled by its name, as the function that it stands for.
    call.__module__, call.__name__ = function.__module__, function.__name__
    call.__qualname__ = function.__qualname__
    return call


def before(kind, function, name_of):
    def call(*arguments, **more):
        handle(kind, name_of(*arguments, **more))
        return function(*arguments, **more)

    call.__module__, call.__name__ = function.__module__, function.__name__
    call.__qualname__ = function.__qualname__
    return call


def patch(module):
    if module.__name__ == "engine.survey":
        module.open_export = before(
            "open", module.open_export, lambda task, *_: task.source.rsplit("/", 1)[-1]
        )
    elif module.__name__ == "engine.frame_check":
        frame = module.FrameCheck
        frame.look_at_image = before("scan", frame.look_at_image, lambda self, *_: self.frame_id)
    elif module.__name__ == "engine.report_look":
        module._picture = before("draw", module._picture, lambda item: item[1]["id"])
    elif module.__name__ == "engine.prepared_rows":
        module.read_image = before("write", module.read_image, lambda row: row["id"])
    elif module.__name__ == "engine.conversations":
        module.compose = before("compose", module.compose, lambda *_, **more: more["frame_id"])
    elif module.__name__ == "engine.tracks":
        module.track_issues = before(
            "track", module.track_issues, lambda frames, *_: frames["video_id"][0].as_py()
        )
    elif module.__name__ == "engine.apart":
        start = module.each_apart

        def each_apart(function, items):
            if orders().get("apart"):
                die()
            return start(function, items)

        module.each_apart = each_apart
    elif module.__name__ == "engine.stages":
        module.scan_range = watched("scan", module.scan_range)
    elif module.__name__ == "engine.shards":
        module.write_shard = watched("write", module.write_shard)


class Finder(importlib.abc.MetaPathFinder):
    """Patches a module right after it has run, before others take names from it."""

    def find_spec(self, name, path, target=None):
        if not name.startswith("engine."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            patch(module)

        spec.loader.exec_module = exec_module
        return spec


if FOLDER is not None:
    sys.meta_path.insert(0, Finder())
