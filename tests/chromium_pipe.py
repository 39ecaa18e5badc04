"""A Chromium without a window, spoken to over a pipe: two file descriptors and JSON.

The DevTools protocol over `--remote-debugging-pipe` (Chromium's content/public/common/
content_switches.cc): the browser reads messages from descriptor 3 and writes them to 4, each ended
by a zero byte. No port is opened, and no driver is needed beside the browser itself.
"""

import json
import os
import select
import shutil
import signal
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60


def find_browser():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of one browser; a context manager.

    Args:
        program: as `find_browser` gives it.
        profile: a new folder for what the browser keeps.
    """

    def __init__(self, program, profile):
        self.events, self.answers, self.number, self.rest = [], {}, 0, b""
        commands, self.to = os.pipe()
        self.back, replies = os.pipe()
        # Beyond 3 and 4, or one of them would be overwritten before it is read.
        ends = [os.dup2(end, end + 100) for end in (commands, replies)]
        quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        self.pid = os.posix_spawn(
            program,
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, end, fd) for end, fd in zip(ends, (3, 4), strict=True)),
                quiet,
            ],
            setpgroup=0,
        )
        for end in (commands, replies, *ends):
            os.close(end)
        self.session = None

    def __enter__(self):
        target = next(
            each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"
        )
        attach = {"targetId": target["targetId"], "flatten": True}
        self.session = self.call("Target.attachToTarget", **attach)["sessionId"]
        for domain in ("Network", "Log", "Runtime", "Page"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        os.close(self.to)  # the browser ends when its pipe does
        for wait in range(100):
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            time.sleep(0.05)
            if wait == 60:
                os.killpg(self.pid, signal.SIGKILL)
        os.close(self.back)

    def call(self, method, **parameters):
        """Send a command and wait for its answer; what happens meanwhile is in `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        number = self.number
        self.wait_for(lambda: number in self.answers)
        answer = self.answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def wait_for(self, there):
        end = time.monotonic() + SECONDS
        while not there():
            left = end - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self.back], [], [], left)[0]:
                data = os.read(self.back, 1 << 20)
                assert data, "the browser has ended"
                *messages, self.rest = (self.rest + data).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self.answers[message["id"]] = message
                    else:
                        self.events.append(message)

    def open(self, path):
        """Open a local file and wait until it is loaded."""
        self.events.clear()
        found = self.call("Page.navigate", url=Path(path).resolve().as_uri())
        assert "errorText" not in found, found
        self.wait_for(lambda: self.named("Page.loadEventFired"))

    def named(self, method):
        return [event["params"] for event in self.events if event["method"] == method]

    def run(self, script):
        """Evaluate an expression in the page; its value as JSON."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self):
        """Console messages, log entries (a refused script or picture is one) and exceptions."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for method in methods for event in self.named(method)]

    def requests(self):
        """Addresses asked for, without those that are data."""
        asked = [event["request"]["url"] for event in self.named("Network.requestWillBeSent")]
        return [url for url in asked if not url.startswith("data:")]
