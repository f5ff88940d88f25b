from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import Clock
from tamperscope.errors import UsageError
from tamperscope.jobs.database import connect, migrate
from tamperscope.jobs.queue import LONGEST_WAIT_S, Order, Queue


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(engine, clock):
    return Queue(engine, clock, tries=3)


def order(name: str, kind: str = "analyse", due: float = 0.0) -> Order:
    return Order(kind, name, {"study": name}, due)


def test_the_same_work_is_put_in_once(queue):
    assert queue.add(order("a"))
    assert not queue.add(order("a"))
    queue.finish(queue.take(["analyse"], "w", 10.0))
    assert not queue.add(order("a")), "nor when it is done"
    assert queue.counts() == {("analyse", "done"): 1}


def test_jobs_come_in_the_order_in_which_they_are_due_and_only_those_asked_for(queue, clock):
    for one in (order("late", due=2000.0), order("second", due=20.0), order("first", due=10.0), order("x", "deliver")):
        queue.add(one)
    assert [queue.take(["analyse"], "w", 10.0).key for _ in range(2)] == ["first", "second"]
    assert queue.take(["analyse"], "w", 10.0) is None
    clock.time = 2000.0
    assert queue.take(["analyse", "deliver"], "w", 9e9).key in ("x", "first")


def test_a_job_that_is_held_is_not_given_twice_until_its_lease_ends(queue, clock):
    queue.add(order("a"))
    first = queue.take(["analyse"], "one", 10.0)
    assert first.tries == 1
    assert queue.take(["analyse"], "two", 10.0) is None
    clock.time += 5.0
    assert queue.renew(first, 10.0)
    clock.time += 8.0
    assert queue.take(["analyse"], "two", 10.0) is None
    clock.time += 3.0
    second = queue.take(["analyse"], "two", 10.0)
    assert second.tries == 2
    assert second.payload == {"study": "a"}


def test_who_lost_a_job_changes_nothing(queue, clock):
    queue.add(order("a"))
    lost = queue.take(["analyse"], "one", 10.0)
    clock.time += 11.0
    held = queue.take(["analyse"], "two", 10.0)
    assert not queue.renew(lost, 10.0)
    assert not queue.finish(lost, after=[order("from the lost one")])
    assert not queue.fail(lost, "no")
    assert queue.finish(held, {"n": 1}, after=[order("next")])
    assert not queue.finish(held)
    assert queue.counts() == {("analyse", "done"): 1, ("analyse", "waiting"): 1}


def test_a_failure_comes_back_later_and_later_and_at_last_is_dead(queue, clock):
    queue.add(order("a"))
    waits = []
    for _ in range(3):
        job = queue.take(["analyse"], "w", 10.0)
        began = clock.time
        queue.fail(job, "the archive said no")
        while (found := queue.counts()) == {("analyse", "waiting"): 1} and clock.time < began + 9999.0:
            clock.time += 10.0
            if queue.oldest_wait() > 0.0:
                break
        waits.append(clock.time - began)
    assert found == {("analyse", "dead"): 1}
    assert waits[:2] == [pytest.approx(40.0, abs=10.0), pytest.approx(70.0, abs=10.0)]
    (dead,) = queue.dead()
    assert (dead["key"], dead["error"], dead["tries"]) == ("a", "the archive said no", 3)


def test_the_wait_has_an_end(engine, clock):
    queue = Queue(engine, clock, tries=99)
    queue.add(order("a"))
    for _ in range(12):
        job = queue.take(["analyse"], "w", 10.0)
        queue.fail(job, "no")
        clock.time += LONGEST_WAIT_S
    assert queue.take(["analyse"], "w", 10.0).tries == 13


def test_what_can_never_work_is_dead_at_once(queue):
    queue.add(order("a"))
    assert queue.fail(queue.take(["analyse"], "w", 10.0), "no images", final=True)
    assert [one["error"] for one in queue.dead()] == ["no images"]


def test_a_job_that_kills_its_worker_each_time_is_dead_in_the_end(queue, clock):
    queue.add(order("poison"))
    for _ in range(3):
        assert queue.take(["analyse"], "w", 10.0) is not None
        clock.time += 11.0
    assert queue.take(["analyse"], "w", 10.0) is None
    assert [one["error"] for one in queue.dead()] == ["its worker died each time"]


def test_dead_letters_can_be_sent_again(queue):
    for name in ("a", "b", "c"):
        queue.add(order(name))
        queue.fail(queue.take(["analyse"], "w", 10.0), "no", final=True)
    number = queue.dead()[0]["id"]
    assert queue.resend(number) == 1
    with pytest.raises(UsageError, match=f"no dead job has the number {number}"):
        queue.resend(number)
    assert queue.resend() == 2
    assert queue.resend() == 0
    assert queue.take(["analyse"], "w", 10.0).tries == 1, "its tries count anew"


def test_how_long_the_oldest_has_waited(queue, clock):
    assert queue.oldest_wait() == 0.0
    queue.add(order("a", due=clock.time - 7.0))
    queue.add(order("b", due=clock.time + 7.0))
    assert queue.oldest_wait() == pytest.approx(7.0)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["take", "finish", "fail", "renew", "wait"]), st.integers(0, 3)), max_size=40
)


@settings(max_examples=30, deadline=None)
@given(ACTIONS)
def test_no_job_is_ever_lost_and_none_is_held_by_two(tmp_path_factory, actions):
    clock, numbers = Clock(), count()
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('q') / 'q.db'}")
    migrate(engine)
    queue = Queue(engine, clock, tries=4)
    for number in range(3):
        queue.add(order(f"{number}"))
    held = []
    for action, which in actions:
        if action == "take":
            job = queue.take(["analyse"], f"w{next(numbers)}", 10.0)
            if job is not None:
                held.append((job, clock.time + 10.0))
        elif action == "wait":
            clock.time += 6.0
        elif held:
            job, _ = held.pop(which % len(held)) if action != "renew" else held[which % len(held)]
            {"finish": queue.finish, "fail": lambda j: queue.fail(j, "no"), "renew": lambda j: queue.renew(j, 10.0)}[
                action
            ](job)
        current = [job.id for job, until in held if until > clock.time]
        assert len(current) == len(set(current)), "held by two"
        assert sum(queue.counts().values()) == 3
    engine.dispose()
