"""The service for everyone who has no DICOM network: a page and an HTTP interface that take studies and show answers.

The web process moves bytes and never looks into them; processes of their own read, judge and compare.
"""
