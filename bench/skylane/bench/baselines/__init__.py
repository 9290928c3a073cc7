"""The servers that ours is compared with, each as a team would write it who starts without us, and a null server.

Each runs alone, as `python -m skylane.bench.baselines.<name>`, and none imports the server.
"""
