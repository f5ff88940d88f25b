from __future__ import annotations

import numpy as np
import pytest

from tamperscope import report as formats
from tamperscope.errors import UsageError
from tamperscope.report import json
from tamperscope.report.files import replacing, save


def test_everything_is_written_and_nothing_else(reports, make, volume, tmp_path):
    out = tmp_path / "deep" / "out"
    result = make["suspicious"](heatmap=np.zeros(volume.shape, np.float32))
    picture = formats.write_series(volume, result, out, heatmap=True)
    paths = formats.write(reports["full"], out, pictures={result.name: picture}, heatmaps={result.name})
    assert [p.name for p in paths] == ["report.json", "report.csv", "report.html"]
    assert sorted(p.name for p in out.iterdir()) == [
        "ct-12.nii.gz",
        "ct-12.png",
        "report.csv",
        "report.html",
        "report.json",
    ]
    assert (out / "ct-12.png").read_bytes() == picture
    assert "ct-12.nii.gz" in (out / "report.json").read_text("utf-8")


def test_every_report_is_written(report, tmp_path):
    formats.write(report, tmp_path)
    assert json.parse((tmp_path / "report.json").read_text("utf-8")).exit_code == report.exit_code


def test_without_a_heat_map_none_is_written(make, volume, tmp_path):
    formats.write_series(volume, make["inconclusive"](), tmp_path, heatmap=True)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.png"]


def test_an_error_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a"
    save(path, b"old")

    def interrupted() -> None:
        with replacing(path) as stream:
            stream.write(b"new")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"old"


def test_what_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot write"):
        save(tmp_path / "file" / "below", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        save(tmp_path / "folder", b"")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
