"""The load lab: one harness for all measurements. See docs/load-lab.md, docs/tuning.md and docs/benchmarks.md.

measure/    one measurement: the server, the requests, CPU and memory, and whether the generator was the limit
scenarios/  `skylane bench`: scenarios of load against one server; the result, its page, two results side by side
capacity/   `skylane bench capacity`: the highest rate that keeps a target
tune/       `skylane bench tune`: the model.toml under which that rate is highest
baselines/  `skylane bench baselines`: the same load for this server and the usual ways to serve
output/     what all of them show with: the live terminal, SVG, HTML pages
record.py   what all result files have in common
commands.py what all commands have in common
"""
