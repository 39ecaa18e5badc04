"""Run a function of a reader, in the consumer's own environment.

Usage: python -I call.py READER FUNCTION ANSWER < ARGUMENTS, where both are JSON and ANSWER is a
file: libraries print on standard output.
"""

import importlib
import json
import socket
import sys
from pathlib import Path


def without_network():
    """Whatever asks the network fails, with a trace that says who asked."""
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family != socket.AF_UNIX:
            raise OSError(f"a consumer asked the network for {address}")
        return connect(self, address)

    def no_name(*names, **_):
        raise OSError(f"a consumer asked the network for {names}")

    socket.socket.connect = socket.socket.connect_ex = refuse
    socket.getaddrinfo = no_name


if __name__ == "__main__":
    reader, function, answer = sys.argv[1:]
    without_network()
    sys.path.insert(0, str(Path(__file__).parent))
    result = getattr(importlib.import_module(reader), function)(**json.load(sys.stdin))
    Path(answer).write_text(json.dumps(result))
