"""Reads journal and outcomes, and reports how each model does: performance, drift, alarms, pages."""
