"""`skylane bench baselines`: this server beside the usual ways to serve. See docs/benchmarks.md."""
