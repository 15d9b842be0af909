"""What is decided about the conversation with an AEM Guides instance, without any I/O.

Nothing in this package reads a clock, sleeps, draws a random number or opens a connection. What it needs of
these is passed in (`steps.Surroundings`); what it wants done it yields (`steps.Step`). The bodies that act on
the steps are the two hooks.
"""
