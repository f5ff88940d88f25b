from __future__ import annotations

from pathlib import Path

from pynetdicom import AllStoragePresentationContexts

from tamperscope.node.conformance import statement
from tamperscope.node.listener import contexts

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_statement_in_the_docs_is_what_the_code_offers():
    assert DOCS.read_text(encoding="utf-8") == statement(), "run: tamperscope node conformance > docs/conformance.md"


def test_every_storage_class_is_accepted_and_named():
    accepted = {str(one.abstract_syntax) for one in contexts()}
    text = statement()
    for context in AllStoragePresentationContexts:
        assert str(context.abstract_syntax) in accepted
        assert f"| {context.abstract_syntax} |" in text
