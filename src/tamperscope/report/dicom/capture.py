"""The picture of the report as a Secondary Capture (PS3.3 A.8.1): any workstation shows it.

It is the fallback of the other objects, never the only one: nothing can be measured in it.
"""

from __future__ import annotations

import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from tamperscope.report import picture, png, words

from . import codes
from .identity import Case

KIND = "capture"
BITS = 8


def render(case: Case) -> Dataset:
    """8-bit RGB: the marked slice, the verdict in plain words, and that it is not for diagnosis."""
    page = np.asarray(png.draw(case.volume, case.result).convert("RGB"), dtype=np.uint8)
    made = SCImage(
        pixel_array=page,
        photometric_interpretation="RGB",
        bits_allocated=BITS,
        coordinate_system="PATIENT",
        # Asked for by highdicom; the page holds several panels and has no orientation, see `Case.finish`.
        patient_orientation=("L", "F"),
        study_instance_uid=case.sources.study,
        **case.made(KIND),
    )
    del made.PatientOrientation
    k = picture.shown_slice(case.volume, case.result)
    reference = Dataset()
    stand_in = case.sources.slice_stand_in(k)
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = stand_in.SOPClassUID, stand_in.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = Items([codes.item(codes.SOURCE_OF_CAPTURE)])
    made.SourceImageSequence = Items([reference])
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = f"{words.headline(case.result)}. {words.DISCLAIMER}."[:1024]
    made.ImageComments = words.meaning(case.result)[:10240]
    return case.finish(made, KIND)
