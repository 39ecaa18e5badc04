"""One thin program for each thing a person runs, and the command line over them.

`sam2prep prepare` and `python -m jobs.prepare` are the same program; the second form is what a job
on a cluster runs.
"""
