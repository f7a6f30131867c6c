"""What happens to stele on a failing host: killed at any point, out of space, memory or fds, its state damaged, many
callers at once. `make faults` tries every point; a plain run of pytest tries a sample."""
