"""PDF: no image to judge, but it may carry Content Credentials (C2PA)."""

from __future__ import annotations

MAGIC = b"%PDF-"
RELATIONSHIP = b"C2PA_Manifest"
"""AFRelationship of the embedded file that holds the manifest (C2PA 2.1, A.4)."""


def is_pdf(data: bytes) -> bool:
    """Whether the first bytes are those of a PDF file (ISO 32000-2, 7.5.2)."""
    return data.startswith(MAGIC)


def has_manifest(data: bytes) -> bool:
    """Whether a PDF shows a manifest store; one whose objects are compressed may hold one all the same."""
    return is_pdf(data) and (RELATIONSHIP in data or (b"jumb" in data and b"c2pa" in data))
