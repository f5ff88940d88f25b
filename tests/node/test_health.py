from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

import builders
import nodes
from tamperscope.jobs.database import migrate
from tamperscope.jobs.queue import Order, Queue
from tamperscope.node import health
from tamperscope.node.parts import Parts


@pytest.fixture
def parts(tmp_path):
    """Of a node whose processes have just given a sign of life."""
    made = Parts.of(nodes.settings(tmp_path))
    migrate(made.engine)
    (made.config.folder / health.ALIVE).mkdir()
    for part in health.ALIVE_PARTS:
        (made.config.folder / health.ALIVE / part).touch()
    yield made
    made.engine.dispose()


def test_a_process_that_is_silent_is_named(parts):
    signs = [parts.config.folder / health.ALIVE / part for part in health.ALIVE_PARTS]
    os.utime(signs[0], (1.0, 1.0))
    assert health.look(parts.config, parts.engine).problems == ("the listener is not running: the audit log says why",)
    for sign in signs[1:]:
        sign.unlink()
    assert health.look(parts.config, parts.engine).problems == ("the node is not running",)


def test_a_request_that_is_never_finished_holds_up_nobody(parts):
    server = health.serve(parts.config, parts.engine)
    try:
        with socket.create_connection((nodes.HERE, server.server_address[1])) as idle:
            idle.sendall(b"GET /heal")
            with urllib.request.urlopen(
                f"http://{nodes.HERE}:{server.server_address[1]}/healthz", timeout=10
            ) as answer:
                assert answer.status == 200
    finally:
        server.shutdown()
        server.server_close()


def test_figures_are_what_is_there_and_problems_are_said_in_words(parts):
    parts.store.take([builders.to_bytes(nodes.ct(1)[0])], "SENDER")
    queue = Queue(parts.engine)
    queue.add(Order("deliver", "a", {}))
    now = health.look(parts.config, parts.engine)
    assert (now.instances, now.studies, now.studies_open) == (1, 1, 1)
    assert now.jobs == {"deliver": {"waiting": 1}}
    assert now.problems == ()
    queue.fail(queue.take(["deliver"], "w", 10.0), "no", final=True)
    assert "1 jobs are dead" in health.look(parts.config, parts.engine).problems[0]


def test_a_job_that_waits_for_long_says_that_the_node_may_not_run(parts):
    queue = Queue(parts.engine)
    queue.add(Order("deliver", "a", {}, due=queue.now() - 3600.0))
    assert "the oldest job has waited for 60 minutes" in health.look(parts.config, parts.engine).problems[0]


def test_prometheus_and_a_load_balancer_can_ask(parts):
    server = health.serve(parts.config, parts.engine)
    where = f"http://{nodes.HERE}:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{where}/metrics") as answer:
            families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}
        assert families["tamperscope_healthy"].samples[0].value == 1.0
        assert "tamperscope_instances_received" in families
        with urllib.request.urlopen(f"{where}/healthz") as answer:
            assert json.load(answer)["healthy"] is True
        queue = Queue(parts.engine)
        queue.add(Order("deliver", "a", {}))
        queue.fail(queue.take(["deliver"], "w", 10.0), "no", final=True)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{where}/healthz")
        assert caught.value.code == 503
        caught.value.close()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{where}/else")
        assert caught.value.code == 404
        caught.value.close()
    finally:
        server.shutdown()
        server.server_close()
