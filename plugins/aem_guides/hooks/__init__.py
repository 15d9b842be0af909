"""Reaching an instance: the two hooks that drive a conversation, and what they need for it."""
