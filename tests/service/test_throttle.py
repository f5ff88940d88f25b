"""Buckets of tokens."""

from databases import Clock
from tamperscope.service import throttle
from tamperscope.service.throttle import Throttle


def test_a_burst_and_then_the_steady_rate():
    clock = Clock()
    one = Throttle(60.0, 3.0, now=clock)
    assert [one.wait("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert one.wait("a") == 1.0
    assert one.wait("b") == 0.0, "each has a bucket of its own"
    clock.time += 1.0
    assert one.empty("a") == 0.0
    assert one.wait("a") == 0.0
    assert one.wait("a") > 0.0
    clock.time += 1000.0
    assert [one.wait("a") == 0.0 for _ in range(4)] == [True, True, True, False]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(throttle, "MOST", 10)
    one = Throttle(60.0, 1.0, now=Clock())
    for number in range(100):
        one.wait(str(number))
    assert len(one._buckets) == 10
