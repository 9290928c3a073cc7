"""What is sent: models, rows, the requests made of them, and when they are due."""
