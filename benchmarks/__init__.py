"""Benchmarks: one question a script, each answer a JSON in `results/` with its machine beside it.

A benchmark checks that what it timed is right, and fails only if it is not: a slow answer is a
result, a wrong one is none.
"""
