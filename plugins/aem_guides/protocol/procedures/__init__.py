"""Several calls with one meaning: start once, wait for one's turn, follow, cancel and confirm, resume, read and
download the log, verify the assets. Each is a generator that does no I/O; `steps` has what it yields."""
