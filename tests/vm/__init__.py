"""The read-only test host: its image (image/), how it is booted (machine.py) and spoken to (guest.py, agent/)."""
