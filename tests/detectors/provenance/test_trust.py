from __future__ import annotations

from datetime import UTC, datetime

import pytest

from signing import certificate, pem
from tamperscope.detectors.provenance import trust
from tamperscope.errors import UsageError

WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def test_files_and_folders_of_certificates(tmp_path):
    one, two = certificate("ca", "ca", issues=True), certificate("other", "other", issues=True)
    (tmp_path / "a.pem").write_bytes(pem(one))
    (tmp_path / "b.crt").write_bytes(pem(one, two))
    (tmp_path / "notes.txt").write_text("not looked at")
    assert trust.load(None) == trust.NOBODY
    assert trust.load(tmp_path / "a.pem").anchors == (one,)
    assert set(trust.load(str(tmp_path)).anchors) == {one, two}
    assert set(trust.load([tmp_path / "a.pem", tmp_path / "b.crt"]).anchors) == {one, two}


@pytest.mark.parametrize(
    "content", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None]
)
def test_what_holds_none_is_told(tmp_path, content):
    path = tmp_path / "a.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.pem") as told:
        trust.load(path)
    assert "PEM" in told.value.hint
    if content is not None:
        path.unlink()
    with pytest.raises(UsageError, match="no certificate in"):
        trust.load(tmp_path)


def test_a_chain_leads_to_an_anchor_that_may_issue_and_is_valid_at_the_time():
    root, leaf = certificate("ca", "ca", issues=True), certificate("scanner", "ca")
    assert trust.Trust((root,)).refusal(leaf, WHEN) is None
    assert trust.Trust((leaf,)).refusal(leaf, WHEN) is None
    for anchors, when in (
        ((), WHEN),
        ((certificate("other", "other", issues=True),), WHEN),
        ((certificate("ca", "ca", issues=False),), WHEN),
        ((certificate("ca", "ca"),), WHEN),
        ((root,), datetime(2010, 1, 1, tzinfo=UTC)),
    ):
        assert trust.Trust(anchors).refusal(leaf, when)
