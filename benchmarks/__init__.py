"""Benchmarks: one question a script, each answer a JSON in `results/` with its machine beside it.

A benchmark checks that what it timed is right, and fails only if it is not: a slow answer is a
result, a wrong one is none. `bench_*` are the questions; `throughput` asks them of a user's own
exports; `readme_tables` writes the README's figures from the results.
"""
