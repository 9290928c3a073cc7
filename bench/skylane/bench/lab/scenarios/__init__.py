"""`skylane bench`: load in many shapes, round after round; the result, its page, and two results side by side."""
