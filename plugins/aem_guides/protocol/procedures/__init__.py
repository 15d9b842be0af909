"""Procedures: several calls with one purpose, such as to start a job once, follow it, cancel it, resume it, read its
log or verify its assets. Each is a generator without I/O. `steps` describes what it yields."""
