"""The load lab: what a server can do, measured, judged and drawn. See docs/load-lab.md and docs/tuning.md.

requests/   what is asked: rows, the requests made of them, and what the right answers are
measure/    one measurement: where the server is, how to send, what it used, and whether the generator was the limit
scenarios/  `skylane bench`: load in many shapes, round after round; the result, its page, two results side by side
knee/       `skylane bench knee`: the highest rate that keeps a target
tuner/      `skylane bench tune`: the model.toml under which that rate is highest
screens/    what all three show with: the live terminal, charts, pages
"""
