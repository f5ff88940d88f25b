from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamperscope.errors import InputError, UnreadableError
from tamperscope.records import Volume
from tamperscope.train.marks import marks

AFFINE = np.array([[0, 0, 0.5, -100.0], [0, 0.5, 0, -80.0], [2.0, 0, 0, 30.0], [0, 0, 0, 1.0]])
ONE = Volume(
    np.zeros((10, 40, 40), np.float32),
    AFFINE,
    "CT",
    series_uid="1.2.3",
    sop_instance_uids=tuple(f"1.2.3.{k}" for k in range(10)),
)
TWO = replace(ONE, series_uid="1.2.4", sop_instance_uids=tuple(f"1.2.4.{k}" for k in range(10)))

NODULE = """<?xml version="1.0"?><LidcReadMessage xmlns="http://www.nih.gov"><readingSession><unblindedReadNodule>
<noduleID>1</noduleID>{rois}</unblindedReadNodule></readingSession></LidcReadMessage>"""
ROI = """<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID><inclusion>TRUE</inclusion>
{edges}</roi>"""
EDGE = "<edgeMap><xCoord>{i}</xCoord><yCoord>{j}</yCoord></edgeMap>"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "table",
    [
        "k,j,i\n4,20,10\n",
        "x,y,z\n-95.0,-70.0,38.0\n",
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,-95,-70,38,6\n",
    ],
)
def test_a_table_gives_voxels_or_millimetres(tmp_path, table):
    assert marks(write(tmp_path / "m.csv", table), [ONE]) == (((4, 20, 10),),)


def test_marks_go_to_the_series_they_name(tmp_path):
    path = write(tmp_path / "m.csv", "series_uid,k,j,i\n1.2.4,1,2,3\n1.2.3,4,5,6\n1.2.4,7,8,9\n1.9,0,0,0\n")
    assert marks(path, [ONE, TWO]) == (((4, 5, 6),), ((1, 2, 3), (7, 8, 9)))


def test_lidc_outlines_go_to_the_series_whose_slices_they_name(tmp_path):
    edges = "".join(EDGE.format(i=i, j=j) for i, j in ((8, 18), (12, 18), (12, 22), (8, 22), (8, 18)))
    rois = "".join(ROI.format(z=30.0 + 2 * k, uid=f"1.2.4.{k}", edges=edges) for k in (3, 4, 5))
    path = write(tmp_path / "nodules.xml", NODULE.format(rois=rois))
    for where in (path, tmp_path):
        assert marks(where, [ONE, TWO]) == ((), ((4, 20, 10),))


@pytest.mark.parametrize(
    ("table", "error", "why"),
    [
        ("a,b\n1,2\n", UnreadableError, "neither columns"),
        ("k,j,i\n1,2,x\n", UnreadableError, "no numbers"),
        ("k,j,i\n1,2\n", UnreadableError, "no numbers"),
        ("series_uid,k,j,i\n1.9,1,2,3\n", InputError, "no nodule of"),
        ("k,j,i\n10,2,3\n", InputError, "outside the volume"),
    ],
)
def test_what_is_no_table_of_these_series_is_refused(tmp_path, table, error, why):
    with pytest.raises(error, match=why):
        marks(write(tmp_path / "m.csv", table), [ONE])


def test_several_series_need_a_column_that_tells_them_apart(tmp_path):
    with pytest.raises(UnreadableError, match="which of 2 series"):
        marks(write(tmp_path / "m.csv", "k,j,i\n1,2,3\n"), [ONE, TWO])


def test_a_folder_without_xml_is_refused(tmp_path):
    with pytest.raises(UnreadableError, match="no XML file"):
        marks(tmp_path, [ONE])
