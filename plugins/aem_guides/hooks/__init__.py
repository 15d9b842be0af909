"""The two hooks that carry out a conversation with an instance, and what they need for it."""

from __future__ import annotations

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook

__all__ = ["AemGuidesAsyncHook", "AemGuidesHook"]
