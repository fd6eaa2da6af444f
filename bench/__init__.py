"""The benchmark: real server processes over real sockets, figures as ratios to the raw floor."""
