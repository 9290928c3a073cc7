"""What was asked and answered: Arrow segments that the server writes and everything in the loop reads."""
