"""Who the node says that it is on the network."""

from __future__ import annotations

from tamperscope import __version__

IMPLEMENTATION_CLASS_UID = "2.25.133197564849878800483463826198342790548"
"""Of tamperscope's own network code (PS3.7 D.3.3.2), not that of the toolkit below it."""
IMPLEMENTATION_VERSION = f"TAMPERSCOPE_{__version__}"[:16]
