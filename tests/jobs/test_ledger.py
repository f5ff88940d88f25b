from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import delete, update

from tamperscope import phantom
from tamperscope.errors import UnreadableError
from tamperscope.jobs.ledger import START, Ledger
from tamperscope.jobs.tables import LEDGER


@pytest.fixture(scope="module")
def chest():
    volume = phantom.chest((3, 64, 64), (2.5, 5.0, 5.0))
    return replace(volume, sop_instance_uids=("1.1", "1.2", None), frames=(1, 1, 1))


@pytest.fixture
def ledger(engine):
    return Ledger(engine, now=lambda: 12.5)


def test_first_sight_is_noted_once_and_later_changes_are_found(ledger, chest):
    assert ledger.head() == START
    ledger.see(chest)
    head = ledger.head()
    ledger.see(chest)
    assert ledger.head() == head, "the same again adds nothing"
    assert ledger.changed == []
    assert ledger.check() == 2
    voxels = chest.voxels.copy()
    voxels[1, 3, 3] += 1.0
    ledger.see(replace(chest, voxels=voxels))
    assert ledger.changed == ["1.2"]
    assert ledger.head() == head, "a change does not overwrite what was first seen"


def test_pictures_are_compared(ledger, chest):
    ledger.see(chest)
    other = replace(
        chest, sop_instance_uids=("1.1", "1.2", "1.9"), voxels=chest.voxels + np.float32([[[0]], [[1]], [[0]]])
    )
    found = ledger.compare([other])
    assert (found.same, found.changed, found.unknown) == (1, ("1.2, frame 1",), 1)
    assert ledger.compare([chest]).unknown == 1, "a slice without a UID is known to nobody"


@pytest.mark.parametrize(
    "forge",
    [
        update(LEDGER).where(LEDGER.c.number == 1).values(pixels="0" * 64),
        update(LEDGER).where(LEDGER.c.number == 2).values(time=99.0),
        delete(LEDGER).where(LEDGER.c.number == 1),
    ],
)
def test_a_row_that_was_changed_or_removed_breaks_the_chain(ledger, chest, forge):
    ledger.see(chest)
    with ledger.engine.begin() as connection:
        connection.execute(forge)
    with pytest.raises(UnreadableError, match=r"row \d of the ledger was changed, or one before it removed"):
        ledger.check()


def test_many_slices_at_once(ledger):
    seen = [(f"1.{n}", 1, f"{n:064x}") for n in range(950)]
    assert ledger.add(seen) == []
    assert ledger.add([("1.949", 1, "f" * 64), ("1.950", 1, "0" * 64)]) == [("1.949", 1)]
    assert ledger.check() == 951
