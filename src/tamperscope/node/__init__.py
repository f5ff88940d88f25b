"""A DICOM node beside the PACS: takes studies in, has them judged, and sends the answer back into the study."""
