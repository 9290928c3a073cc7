"""What became true afterwards: labels and values, beside the instant at which each was known."""
