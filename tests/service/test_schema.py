"""The OpenAPI description holds: schemathesis asks everything that it allows, and much that it does not."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from services import caller, service, work
from tamperscope.service.app import make
from tamperscope.service.config import Limits, Server

ENDLESS = "/api/v1/events"
"""Never ends, so that it cannot be asked for its whole answer; test_events.py reads it."""
STOW = 'multipart/related; type="application/dicom"; boundary=x'
LIMITS = Limits(
    upload_bytes=1 << 62, file_bytes=1 << 62, user_bytes=1 << 62, open_uploads=10**9, free_bytes=0,
    requests_per_minute=10**9, logins_per_minute=10**9,
)  # fmt: skip
CHECKS = {
    # The description allows 2^50 bytes, and no disk has as many.
    "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "507"]},
    # 20,001 files are more than fits into a body, which is seen before the files are counted.
    "negative_data_rejection": {
        "expected-statuses": ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"]
    },
}
"""All checks are on; these two know more answers."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A service whose jobs are done as they come, and a schema that asks it as an administrator."""
    one = service(tmp_path_factory.mktemp("schema"), limits=LIMITS, server=Server(hosts=("testserver",)))
    done = threading.Event()

    def working():
        while not done.wait(0.05):
            work(one)

    worker = threading.Thread(target=working)
    worker.start()
    token = one.accounts.new_token("administrator", "test", 1.0)[1]
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "checks": CHECKS,
            "auth": {"openapi": {"token": {"bearer": token}}},
            "generation": {"max-examples": 3, "database": "none"},
            "phases": {"stateful": {"max-steps": 4}},
        }
    )
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", make(one), config=config).exclude(path=ENDLESS)
    schemathesis.serializer("multipart/related")(_related)
    schemathesis.hook("before_call")(_bounded)
    yield schema
    schemathesis.hooks.unregister_all()
    done.set()
    worker.join()
    one.engine.dispose()


def _related(_, value):
    """A part of a STOW-RS request."""
    data = value if isinstance(value, bytes) else getattr(value, "data", None)
    part = data if isinstance(data, bytes) else repr(value).encode()
    return b"--x\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n--x--\r\n"


def _bounded(_, case, __):
    """Its boundary, which the description of a media type cannot have."""
    if (case.media_type or "").startswith("multipart/related") and case.meta.generation.mode.is_positive:
        case.headers["Content-Type"] = STOW


def test_what_the_description_says_holds(asked):
    wrong, phases = [], Counter()
    for event in from_schema(asked).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(repr(getattr(event, "value", event)))
        if isinstance(event, events.ScenarioFinished):
            phases[event.phase.name] += len(event.recorder.interactions)
            wrong += list(_failures(event.recorder))
    assert not wrong, "\n\n".join(dict.fromkeys(wrong))
    assert set(phases) >= {"EXAMPLES", "COVERAGE", "FUZZING", "STATEFUL_TESTING"}, phases


def _failures(recorder):
    for case, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                asked, failure = recorder.cases[case].value, check.failure_info.failure
                yield f"{asked.method} {asked.formatted_path} {check.name}: {failure.title}: {failure.message}"[:800]


def test_the_description_has_examples_and_every_status(plain_description):
    statuses = set()
    for path, item in plain_description["paths"].items():
        for method, operation in item.items():
            statuses |= set(operation["responses"])
            assert {"401", "403", "421", "429", "500", "503"} <= set(operation["responses"]), (method, path)
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and "enum" not in parameter["schema"]:
                    assert parameter["schema"].get("examples") or parameter.get("examples"), (path, parameter["name"])
    assert statuses >= {"200", "201", "202", "204", "400", "404", "406", "408", "409", "413", "415", "422", "507"}
    schemas = plain_description["components"]["schemas"]
    for name in ("UploadIn", "FileIn", "StudyOut", "ReviewIn", "ComparisonIn", "UserIn", "TokenIn", "Problem"):
        told = [schemas[name].get("examples"), *(one.get("examples") for one in schemas[name]["properties"].values())]
        assert any(told), name


@pytest.fixture
def plain_description(fresh):
    with caller(fresh, None) as client:
        return client.get("/api/v1/openapi.json").json()
