"""Was this medical image altered or generated, and where?

``tamperscope.scan(path)`` answers it. Importing this package loads neither numpy nor torch nor onnxruntime: the
public names are fetched at first use, so that ``tamperscope --help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tamperscope.errors import TamperscopeError
    from tamperscope.pipeline import scan
    from tamperscope.records import Evidence, Forgery, Region, Report, Series, Study, Verdict, Volume
    from tamperscope.study import read

_HOMES = {
    "Evidence": "records",
    "Forgery": "records",
    "Region": "records",
    "Report": "records",
    "Series": "records",
    "Study": "records",
    "TamperscopeError": "errors",
    "Verdict": "records",
    "Volume": "records",
    "read": "study",
    "scan": "pipeline",
}
__all__ = [
    "Evidence",
    "Forgery",
    "Region",
    "Report",
    "Series",
    "Study",
    "TamperscopeError",
    "Verdict",
    "Volume",
    "__version__",
    "read",
    "scan",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tamperscope' has no attribute {name!r}")
    return getattr(import_module(f"tamperscope.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
