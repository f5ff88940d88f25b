"""The shipped detectors on real scans. Needs the development data; without it these tests are skipped.

TAMPERSCOPE_DATA names the folder that holds ct-gan/ and ct-authentic/.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tamperscope
from tamperscope import detectors
from tamperscope.calibrate import calibrated
from tamperscope.datasets import ct_gan
from tamperscope.decode import decode
from tamperscope.detectors import provenance
from tamperscope.evaluate.localisation import judge, summary

DATA = Path(os.environ.get("TAMPERSCOPE_DATA", "no-such-folder"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="TAMPERSCOPE_DATA names no folder with the development data")


@pytest.fixture(scope="module", params=["ct-fast", "ct-accurate"])
def placed(request):
    card = detectors.chosen_card(request.param)
    detector, rng = detectors.from_card(card), np.random.default_rng(0)
    found = []
    for label, volume in ct_gan.volumes(DATA / "ct-gan"):
        heatmap = calibrated(detector.detect(volume), card.calibration).heatmap
        found.append(judge(label.kind, volume, heatmap, (0, label.row, label.column), rng))
    return summary(found)


@pytest.mark.parametrize(("kind", "share"), [("injected", 0.45), ("removed", 0.65)])
def test_the_map_points_at_real_ct_gan_forgeries(placed, kind, share):
    assert placed[kind]["pointing"] >= share


@pytest.mark.parametrize(("kind", "area"), [("injected", 0.70), ("removed", 0.97)])
def test_the_tampered_region_of_real_ct_gan_forgeries_stands_out(placed, kind, area):
    assert placed[kind]["region_auroc"] >= area


@pytest.mark.parametrize("patient", ["lungct-diagnosis/R_239", "lung-pet-ct-dx/Lung_Dx-A0002"])
def test_whole_collections_are_read(patient):
    reading = tamperscope.read(DATA / "ct-authentic" / patient)
    files = sorted((DATA / "ct-authentic" / patient).rglob("*.dcm"))
    assert not reading.failed
    assert sum(len(series.instances) for study in reading.studies for series in study.series) == len(files)


def test_authentic_series_do_not_contradict_themselves():
    """What occurs in files as archives give them out is a note."""
    examined, weighty = 0, []
    for folder in ("tcga", "lungct-diagnosis", "lung-pet-ct-dx/Lung_Dx-A0002"):
        studies = tamperscope.read(DATA / "ct-authentic" / folder).studies
        kin = provenance.Kin.of(studies)
        for study in studies:
            for series in study.series:
                found = provenance.examine(series, decode(series), kin=kin.to(series))
                examined += 1
                weighty += [one for one in found.findings if one.severity != "note"]
                assert found.state == "absent", series.instances[0].source
    assert examined > 40
    assert weighty == []
