"""What the kinds that are documents share: the device that observed, and codes as content."""

from __future__ import annotations

from highdicom.sr import CodedConcept, DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.sr.coding import Code

from . import codes
from .identity import MANUFACTURER, Case


def concept(code: Code) -> CodedConcept:
    """A code as highdicom's templates take it."""
    return CodedConcept(code.value, code.scheme_designator, code.meaning)


def device(case: Case) -> ObserverContext:
    """TID 1002 with TID 1004: the same UID as in the equipment."""
    return ObserverContext(
        observer_type=concept(codes.DEVICE),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=case.device_uid,
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=case.model_names,
        ),
    )
