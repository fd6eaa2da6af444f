"""What the program tells about itself: structured log lines and Prometheus metrics."""
