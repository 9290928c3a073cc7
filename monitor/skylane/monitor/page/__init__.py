"""The page: one HTML document without anything from elsewhere, served by the monitor and written as a report."""
