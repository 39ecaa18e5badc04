"""Settings of all tests."""

import signal

from hypothesis import settings

# A test judges what code does, never how fast: a busy machine must not turn the gate red.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell starts what it runs in the background with Ctrl-C ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
