"""The machine: its processes, what they use, what a result depends on, and how a command ends."""
