"""The command `skylane outcomes`."""
