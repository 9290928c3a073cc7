"""What is asked: rows, the requests made of them, and what the right answers are."""
