"""Load tests and benchmarks.

locustfile.py  for `locust -f`; load/ has its users, shapes and thresholds
workload/      what is sent: models, rows, requests and when they are due
client/        how it is sent: our own load generator, and h2load
servers.py     servers as child processes; baselines/ has those that ours is compared with
host/          the machine: processes, CPU and memory, what a result depends on
lab/           the harness: `skylane bench` and its subcommands
experiments/   comparisons that answer one question, run by hand
results/       raw results that the documentation quotes

Imports point from lab/, load/ and experiments/ to the others; lab/ and load/ do not import each other.
"""
