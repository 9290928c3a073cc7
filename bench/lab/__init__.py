"""The load lab: what a server can do, measured, judged and drawn. See docs/load-lab.md."""
