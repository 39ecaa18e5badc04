"""The tests, and what they share: a package, because some libraries install one of this name."""
