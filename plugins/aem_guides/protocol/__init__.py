"""The decisions about the conversation with an AEM Guides instance, without any I/O.

Nothing in this package reads a clock, sleeps, draws a random number or opens a connection. It gets what it needs as
arguments (`steps.Surroundings`) and yields what is to be done (`steps.Step`). The two hooks carry out the steps.
"""
