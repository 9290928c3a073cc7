"""Statistics that the converter, the monitor and the steward share: arrays in, figures out; chance is passed in."""
