"""What several tests need: small published models, a server to talk to, clocks and workers that obey."""
