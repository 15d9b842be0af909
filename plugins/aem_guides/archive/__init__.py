"""A job's log as a checked ZIP: fetched, checked, put in its place."""
