"""A job's log as a checked ZIP: fetch it, check it, store it."""
