"""Settings of all tests."""

from hypothesis import settings

# A test judges what code does, never how fast: a busy machine must not turn the gate red.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
