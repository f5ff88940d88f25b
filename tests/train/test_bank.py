from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from safetensors import safe_open  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from tamperscope.errors import TrainingError  # noqa: E402
from tamperscope.train import bank  # noqa: E402
from tamperscope.train.bank import Bank, Mined, fill  # noqa: E402
from tamperscope.train.crops import Crops, Pair, Recipe  # noqa: E402


class Numbered(Crops):
    """Pairs whose values are their number, counted from a thousand times the seed; every third is a "splice"."""

    def __init__(self) -> None:
        self.recipe, self.seed = Recipe(), 7

    def __iter__(self):
        number = 1000 * self.seed
        while True:
            ramp = np.arange(16, dtype=np.float32).reshape(1, 4, 4).repeat(3, 0)
            pristine = np.full((3, 4, 4), number % 2048, np.float32)
            target = np.array([[1.0, -1.0, 0.0, 0.0]] * 4, np.float32)
            yield Pair(ramp, pristine, target, "nodule" if number % 3 else "splice", f"P{number % 2}")
            number += 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "SHARD", 6)
    fill(Numbered(), tmp_path / "bank", 12, workers=0)
    return tmp_path / "bank"


def shares(**found):
    return Recipe(attack_shares=tuple(found.items()))


def test_it_is_filled_in_whole_files_and_goes_on_where_it_stopped(folder):
    told = []
    fill(Numbered(), folder, 13, workers=0, tick=lambda done, of: told.append((done, of)))
    assert told == [(18, 18)]
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["00000.safetensors", "00001.safetensors", "00002.safetensors"]
    firsts = []
    for path in files:
        with safe_open(path, "numpy") as file:
            assert len(json.loads(file.metadata()["attacks"])) == 6
            firsts.append(float(file.get_tensor("pristine")[0, 0, 0, 0]))
    assert firsts == [7000 % 2048, 8000 % 2048, 9000 % 2048], "each file has forgeries of its own"


def test_shares_say_how_often_and_what_is_not_named_is_left_out(folder):
    names = [pair.attack for pair in islice(Bank(folder, shares(nodule=0.9, splice=0.1), 1), 400)]
    assert names.count("nodule") == pytest.approx(360, abs=30)
    assert {pair.attack for pair in islice(Bank(folder, shares(splice=1.0), 1), 20)} == {"splice"}


def test_a_pair_is_turned_as_one_and_by_its_seed(folder):
    stream = Bank(folder, shares(splice=1.0), 1)
    drawn = list(islice(stream, 64))
    turns = set()
    for pair in drawn:
        turned = {
            f"{k}{m}": np.rot90(r[:, ::-1] if m else r, k)
            for r in [np.arange(16.0).reshape(4, 4)]
            for k in range(4)
            for m in (0, 1)
        }
        (name,) = [key for key, value in turned.items() if np.array_equal(value, pair.forged[0])]
        turns.add(name)
        forged_edge = np.sort(pair.forged[0][pair.target > 0])
        assert forged_edge.tolist() == [0.0, 4.0, 8.0, 12.0], "the target turns with the picture"
    assert len(turns) == 8
    again = list(islice(stream, 64))
    assert all(np.array_equal(a.forged, b.forged) for a, b in zip(drawn, again, strict=True))


def test_workers_draw_other_pairs_than_each_other(folder):
    loader = DataLoader(Bank(folder, shares(nodule=1.0), 1), batch_size=None, num_workers=2)
    drawn = [(float(pair.pristine[0, 0, 0]), pair.forged[0].tobytes()) for pair in islice(loader, 40)]
    assert drawn[0::2] != drawn[1::2], "the workers take turns"


def test_all_of_it_once_as_it_was_drawn(folder):
    pairs = Bank(folder, shares(nodule=1.0, splice=1.0), 1).all()
    assert len(pairs) == 12
    assert {pair.patient for pair in pairs} == {"P0", "P1"}
    assert all(np.array_equal(pair.forged[0], np.arange(16.0).reshape(4, 4)) for pair in pairs)
    assert sorted(float(pair.pristine[0, 0, 0]) for pair in pairs) == sorted(
        float((start + n) % 2048) for start in (7000, 8000) for n in range(6)
    )


def test_an_attack_that_it_lacks_is_named(folder):
    with pytest.raises(TrainingError, match="holds no pair of poisson"):
        Bank(folder, shares(nodule=0.5, poisson=0.5), 1)


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """A bank of pairs of 32 pixels: noise, and a forgery whose noise is doubled in one corner."""
    monkeypatch.setattr(bank, "SHARD", 4)

    class Noisy(Numbered):
        def __iter__(self):
            rng = np.random.default_rng(self.seed)
            while True:
                seen = rng.normal(0.0, 0.3, (3, 32, 32)).astype(np.float32)
                louder, target = seen.copy(), np.zeros((32, 32), np.float32)
                louder[:, :16, :16] *= 2.0
                target[:16, :16] = 1.0
                yield Pair(louder, seen, target, "splice", "P")

    fill(Noisy(), tmp_path / "noisy", 4, workers=0)
    return tmp_path / "noisy"


def test_another_kernel_changes_both_twins_alike_and_keeps_the_noise_at_its_strength(noisy):
    plain, other = (list(islice(Bank(noisy, shares(splice=1.0), 1, share), 24)) for share in (0.0, 1.0))
    strengths = []
    for pair in other:
        assert np.median(np.abs(pair.pristine[2])) == pytest.approx(0.3 * 0.6745, rel=0.2)
        quiet, loud = (np.abs(seen[1][pair.target > 0]).mean() for seen in (pair.pristine, pair.forged))
        assert loud / quiet == pytest.approx(2.0, rel=0.1), "what tells them apart is kept"
        strengths.append(float(np.abs(pair.pristine[1]).mean()))
        assert np.abs(pair.forged[1:]).max() <= 4.0
        assert np.abs(pair.forged[0]).max() <= 1.0
    same = [float(np.abs(pair.pristine[1]).mean()) for pair in plain]
    assert max(same) < 1.1 * min(same)
    assert max(strengths) > 1.5 * min(strengths), "sharper and softer ones"


def test_mined_crops_are_drawn_by_the_root_of_a_volume_and_turned(tmp_path):
    for number, (patient, count) in enumerate((("A", 16), ("B", 4), ("B", 4))):
        crops = np.full((count, 3, 4, 4), number, np.float16) + np.arange(4, dtype=np.float16) / 8
        save_file({"authentic": crops}, tmp_path / f"{number}.safetensors", {"patient": json.dumps(patient)})
    drawn = Mined(tmp_path).draw(600, np.random.default_rng(0))
    assert drawn.shape == (600, 3, 4, 4)
    assert drawn.dtype == np.float32
    shares_of = [float((np.floor(drawn[:, 0, 0, 0]) == number).mean()) for number in range(3)]
    assert shares_of == pytest.approx([4 / 6, 1 / 6, 1 / 6], abs=0.06)
    assert len({crop.tobytes() for crop in drawn}) == 12, "four turns of each of three"


def test_nothing_mined_is_said(tmp_path):
    with pytest.raises(TrainingError, match="holds no crops"):
        Mined(tmp_path)
