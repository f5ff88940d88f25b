from __future__ import annotations

import threading

import pytest

from tamperscope.errors import UnreadableError, UsageError
from tamperscope.jobs.queue import Order, Queue
from tamperscope.jobs.worker import Done, Later, Worker


@pytest.fixture
def queue(engine):
    made = Queue(engine, tries=2, first_wait_s=0.0)
    made.add(Order("analyse", "a", {"study": "1.2.3"}))
    return made


def run(queue, handler, **options):
    said = []
    worker = Worker(queue, {"analyse": handler}, "w", told=lambda *facts: said.append(facts), **options)
    while worker.step():
        pass
    return [(state, error) for state, _, error in said]


def test_a_job_is_done_and_what_follows_is_put_in(queue):
    said = run(queue, lambda job: Done({"seen": job.payload["study"]}, (Order("deliver", "d", {}),)))
    assert said == [("done", "")]
    assert queue.counts() == {("analyse", "done"): 1, ("deliver", "waiting"): 1}


@pytest.mark.parametrize("error", [UsageError("PACS cannot be reached"), Later("nothing said yet")])
def test_what_may_work_later_is_tried_again_and_then_dead(queue, error):
    def handler(_job):
        raise error

    assert run(queue, handler) == [("failed", str(error)), ("dead", str(error))]


def test_what_cannot_work_is_dead_at_once(queue):
    def handler(_job):
        raise UnreadableError("no images", hint="send them")

    assert run(queue, handler) == [("dead", "no images (send them)")]


def test_a_fault_of_ours_says_where_and_nothing_of_the_data(queue):
    def handler(_job):
        raise ValueError("Doe^Jane has no pixels")

    said = run(queue, handler)
    assert [state for state, _ in said] == ["failed", "dead"]
    assert all("Doe" not in error and "ValueError at " in error and "test_worker" in error for _, error in said)


def test_a_lease_is_renewed_while_the_job_is_done(queue):
    renewed = threading.Event()
    real = queue.renew

    class Watched(Queue):
        __slots__ = ()

        def renew(self, job, lease_s):
            kept = real(job, lease_s)
            renewed.set()
            return kept

    watched = Watched(queue.engine, tries=2)
    worker = Worker(watched, {"analyse": lambda _job: Done(renewed.wait(10.0))}, "w", lease_s=0.05)
    assert worker.step()
    assert renewed.is_set()
    assert queue.counts() == {("analyse", "done"): 1}


def test_it_stops_when_it_is_told_and_finishes_what_it_holds(queue):
    stop, begun = threading.Event(), threading.Event()

    def handler(_job):
        begun.set()
        stop.wait(10.0)
        return Done()

    thread = threading.Thread(target=Worker(queue, {"analyse": handler}, "w").run, args=(stop, 0.01))
    thread.start()
    assert begun.wait(10.0)
    stop.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert queue.counts() == {("analyse", "done"): 1}
