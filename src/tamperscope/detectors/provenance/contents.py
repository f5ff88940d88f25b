"""Content Credentials (C2PA) in pictures and PDF: signed manifests of how a picture came about.

Read by c2pa-python, told to fetch nothing: no manifest that lies elsewhere, no answer of the issuer of a certificate.
As with signatures of DICOM, a manifest that does not match its picture is proof of a change, and one that matches
vouches for nothing unless the caller trusts who signed it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from tamperscope.detectors.provenance import seen, segments
from tamperscope.detectors.provenance.opened import Opened
from tamperscope.detectors.provenance.seen import Seen
from tamperscope.detectors.provenance.trust import Trust
from tamperscope.errors import MissingExtraError
from tamperscope.formats import pdf

CHECK = "c2pa"
PDF = "application/pdf"
CLAUSE, ACTIONS = "C2PA 2.1, 15", "C2PA 2.1, 18.15"
TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"II": "image/tiff", b"MM": "image/tiff"}
TYPES[pdf.MAGIC] = PDF
APP11 = 0xEB
MISMATCHES = (".mismatch", "assertion.missing", "claim.multiple", "hardBindings.missing")
"""How the codes of failures end or begin that mean: this is not what was signed (C2PA 2.1, 15.2.2)."""
GENERATED = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicMedia",
    "compositeSynthetic",
)
"""Digital source types (IPTC) of what no scanner has seen."""
NOT_TRUSTED = "signingCredential.untrusted"


def check(opened: Opened, trusted: Trust) -> Iterator[Seen]:
    """The manifest of one picture, if it has one."""
    if opened.format != "picture":
        return
    try:
        yield from credentials(opened.data, opened.source, trusted)
    except MissingExtraError as error:
        text = f"Content Credentials (C2PA) are in the file, and were not checked: {error}."
        yield seen.note("c2pa-unchecked", text, CLAUSE, opened.source)


def kind_of(data: bytes) -> str | None:
    """The media type of a file that can hold a manifest here, by its first bytes: PNG, JPEG, TIFF or PDF; else None."""
    return next((kind for start, kind in TYPES.items() if data.startswith(start)), None)


def credentials(data: bytes, source: str, trusted: Trust) -> Iterator[Seen]:
    """What the manifest of a file says, and whether it matches; nothing where there is none.

    Args:
        data: the bytes of the file.
        source: what findings call it.
        trusted: whose signatures vouch for it.

    Raises:
        MissingExtraError: there is a manifest, or there may be one, and c2pa-python is not installed.
    """
    kind = kind_of(data)
    # Objects of a PDF may lie compressed in a stream, where no search of bytes finds them.
    if kind is None or not (has_manifest(data) or (kind == PDF and b"/ObjStm" in data)):
        return
    manifest = _read(data, kind, trusted)
    if manifest is not None:
        yield from _validity(manifest, trusted, source)
        yield from _history(manifest, source)
    elif has_manifest(data):
        text = "Content Credentials (C2PA) are in the file, and cannot be read: they are damaged or lie elsewhere."
        yield seen.warning("c2pa-unchecked", text, CLAUSE, source)


def has_manifest(data: bytes) -> bool:
    """Whether there is a JUMBF box of C2PA: PNG chunk caBX, JPEG APP11, elsewhere anywhere (C2PA 2.1, A.3, A.4)."""
    if data.startswith(segments.PNG_START):
        return any(kind == b"caBX" for kind, _ in segments.of_png(data))
    if data.startswith(segments.JPEG_START):
        return any(code == APP11 and b"jumb" in content[:64] for code, content in segments.of_jpeg(data))
    return pdf.has_manifest(data) or (b"jumb" in data and b"c2pa" in data)


def _read(data: bytes, kind: str, trusted: Trust) -> dict[str, Any] | None:
    """The manifest store with its validation; None if it cannot be read.

    Raises:
        MissingExtraError: c2pa-python is not installed.
    """
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtraError("c2pa-python", "c2pa") from error
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
        # Without a list every host could be asked by whatever else the library may come to fetch.
        "core": {"allowed_network_hosts": []},
    }
    if trusted.anchors:
        settings["trust"] = {"user_anchors": trusted.pem}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(settings))
        with c2pa.Reader(kind, BytesIO(data), context=context) as reader:
            found: dict[str, Any] = json.loads(reader.json())
    except (c2pa.C2paError, ValueError, RecursionError):
        return None
    return found


def _validity(store: dict[str, Any], trusted: Trust, source: str) -> Iterator[Seen]:
    codes = sorted(_failures(store) - {NOT_TRUSTED})
    signer = _signer(store)
    changed = [code for code in codes if code.endswith(MISMATCHES) or code.startswith(MISMATCHES)]
    state = store.get("validation_state")
    if changed:
        text = f"The content was changed after its Content Credentials were signed by {signer} ({', '.join(changed)})."
        yield seen.broken(CHECK, text, CLAUSE, source)
    elif state not in ("Valid", "Trusted"):
        why = ", ".join(codes) or "no reason is given"
        text = f"The Content Credentials are not valid ({why}). Signer: {signer}."
        yield seen.warning(CHECK, text, CLAUSE, source)
    elif state == "Trusted" and trusted.anchors:
        yield seen.verified(
            CHECK, f"The Content Credentials hold and are vouched for. Signer: {signer}.", CLAUSE, source
        )
    else:
        text = (
            "The Content Credentials match the content, but nobody whom you trust vouches for them: whoever changes a "
            f"file can sign it anew. Signer: {signer}."
        )
        yield seen.note("c2pa-untrusted", text, CLAUSE, source)


def _failures(store: dict[str, Any]) -> set[str]:
    active = _dict(_dict(store.get("validation_results")).get("activeManifest"))
    listed = [*_list(active.get("failure")), *_list(store.get("validation_status"))]
    return {str(one.get("code")) for one in listed if isinstance(one, dict)}


def _signer(store: dict[str, Any]) -> str:
    info = _dict(_manifest(store).get("signature_info"))
    names = [str(info[key])[:100] for key in ("common_name", "issuer") if info.get(key)]
    return ", ".join(dict.fromkeys(names)) or "an unnamed signer"


def _history(store: dict[str, Any], source: str) -> Iterator[Seen]:
    """What the manifest says of how the picture was made (assertion c2pa.actions)."""
    for action in _actions(store):
        name = str(action.get("action", ""))[:60]
        origin = str(action.get("digitalSourceType", "")).rstrip("/").rsplit("/", 1)[-1][:60]
        agent = action.get("softwareAgent")
        agent = agent.get("name") if isinstance(agent, dict) else agent
        by = f" by {str(agent)[:60]}" if agent else ""
        if origin in GENERATED:
            text = f"The Content Credentials say {name}{by} from {origin}: no scanner has seen this."
            yield seen.warning("c2pa-generated", text, ACTIONS, source)
        elif name:
            yield seen.note("c2pa-action", f"The Content Credentials say {name}{by}.", ACTIONS, source)


def _actions(store: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in _list(_manifest(store).get("assertions")):
        if isinstance(assertion, dict) and str(assertion.get("label", "")).startswith("c2pa.actions"):
            listed = _list(_dict(assertion.get("data")).get("actions"))
            yield from (action for action in listed if isinstance(action, dict))


def _manifest(store: dict[str, Any]) -> dict[str, Any]:
    return _dict(_dict(store.get("manifests")).get(str(store.get("active_manifest"))))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
