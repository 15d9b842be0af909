"""What processes store of those who wait, as JSON."""

from __future__ import annotations

from aem_guides.protocol.waiters import Waiters
from aem_guides.runtime.records import Codec

_CODEC = Codec(Waiters)
encoded, decoded = _CODEC.encoded, _CODEC.decoded
