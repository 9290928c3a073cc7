"""`skylane bench tune`: the model.toml under which a model sustains the highest rate."""
