"""Every exception that tamperscope raises on purpose.

    TamperscopeError
    ├── UsageError               the call itself cannot be carried out
    │   └── MissingExtraError    an optional dependency is not installed
    ├── InputError               something the user handed over cannot be used
    │   ├── UnreadableError      damaged, truncated, not an image, nothing there
    │   ├── UnsupportedError     a valid file that no installed codec or reader takes
    │   ├── LimitError           larger than a stated limit (pixels, bytes, archive ratio)
    │   ├── UnsafePathError      a name inside an archive or DICOMDIR that leaves its folder
    │   └── RefusedError         an archive does not keep it, however often it is sent
    ├── WeightsError             a model file or its Card is missing, damaged or not as promised
    ├── FullError                there is no room left to take anything
    ├── DeliveryError            a peer cannot be reached, or does not take what was sent
    ├── TrainingError            a training cannot go on: its loss is no number, or memory ran out
    └── AttackError              a forgery cannot be made with these parameters in this volume

Each says what is wrong, the value that was met, and the way out. Exceptions of other libraries are mapped onto
this tree where they arise, so a caller needs one ``except TamperscopeError``.
"""

from __future__ import annotations


class TamperscopeError(Exception):
    """Base of the tree: a sentence that says what and with which value, and ``hint``, the way out.

    No message holds patient data: values are paths, sizes, UIDs and names of formats.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(TamperscopeError):
    """The call itself cannot be carried out."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f"install it with: pip install 'tamperscope[{extra}]'")


class InputError(TamperscopeError):
    """Something the user handed over cannot be used."""


class UnreadableError(InputError):
    """Damaged, truncated, not an image, or nothing there."""


class UnsupportedError(InputError):
    """A valid file that no installed codec or reader takes."""


class LimitError(InputError):
    """Larger than a stated limit."""


class UnsafePathError(InputError):
    """A name inside an archive or DICOMDIR that leaves its folder."""


class RefusedError(InputError):
    """An archive does not keep it, however often it is sent."""


class FullError(TamperscopeError):
    """There is no room left to take anything; there may be later."""


class DeliveryError(TamperscopeError):
    """A peer cannot be reached, or does not take what was sent; it may later."""


class WeightsError(TamperscopeError):
    """A model file or its Card is missing, damaged or not as promised."""


class TrainingError(TamperscopeError):
    """A training cannot go on: its loss is no number, or memory ran out."""


class AttackError(TamperscopeError):
    """A forgery cannot be made with these parameters in this volume."""
