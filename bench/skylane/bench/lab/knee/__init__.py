"""`skylane bench knee`: the highest rate that keeps a target."""
