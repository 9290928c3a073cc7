"""One measurement: where the server is, how to send, what it used, and whether the generator was the limit."""
