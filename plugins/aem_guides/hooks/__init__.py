"""Reaching an instance: the two hooks that drive a conversation, and what they need for it."""

from __future__ import annotations

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook

__all__ = ["AemGuidesAsyncHook", "AemGuidesHook"]
