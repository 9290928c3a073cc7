"""Statistics that the converter, the monitor and the steward share. Pure: arrays in, figures out."""
