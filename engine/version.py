"""The version of the engine: written here, read by the build, the manifest and the workers."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
