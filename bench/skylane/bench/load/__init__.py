"""What Locust runs here: scenarios, requests, arrivals, thresholds, and the users that put them together."""
