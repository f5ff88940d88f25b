"""What the interface takes and tells, as it stands in its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from tamperscope.service.accounts import LEAST_PASSWORD, MOST_PASSWORD, Role
from tamperscope.service.studies import Opinion

ID = "3f2504e04f8911d39a0c0305e82c3301"
STUDY: dict[str, JsonValue] = {
    "id": ID,
    "name": "Case 17",
    "study_uid": "1.2.826.0.1.3680043.8.498.1",
    "upload": "9b2e0ad2c0f84b0c8d7fd0a3b2d0aa11",
    "owner": "reading-room",
    "state": "done",
    "progress": 1.0,
    "verdict": "suspicious",
    "probability": 0.97,
    "provenance": "absent",
    "modalities": ["CT"],
    "series": 1,
    "slices": 133,
    "bytes": 70123456,
    "opinion": None,
    "error": None,
    "made": 1764165600.0,
    "changed": 1764165620.5,
    "ended": 1764165620.5,
    "expires": 1766757620.5,
}
Text = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
"""PostgreSQL takes no zero byte in a text."""
Whole = Annotated[int, BeforeValidator(lambda value: int(value) if _is_whole(value) else value)]
"""JSON has one kind of number: 3.0 is a whole one."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]
Seconds = Annotated[float, Field(description="Seconds since 1970, UTC.")]


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Told(BaseModel):
    """What is sent back."""

    model_config = ConfigDict(from_attributes=True)


class Asked(BaseModel):
    """What is taken: nothing that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(Told):
    """What is wrong, and the way out."""

    error: str = Field(examples=["there is no such study"])
    hint: str = Field(examples=["it was deleted, or its time is over"])


class Behind(Problem):
    """A piece that does not begin where the file ends."""

    received: int | None = Field(None, description="Where the file ends: send from there on.")


class FileIn(Asked):
    """A file that is to be sent."""

    name: Name = Field(examples=["case17/IM0001.dcm"], description="Relative; what reports call it.")
    bytes: Whole = Field(ge=0, le=1 << 50, examples=[525312])


class UploadIn(Asked):
    """An upload that begins."""

    name: Name = Field(examples=["Case 17"])
    files: list[FileIn] = Field(min_length=1, max_length=20_000)


class FileOut(Told):
    """A file of an upload."""

    number: int
    name: str
    bytes: int
    received: int = Field(description="Bytes that have come.")


class Failed(Told):
    """A file that could not be used."""

    source: str
    error: str
    hint: str


class Skipped(Told):
    """A file that is no image to analyse."""

    source: str
    reason: str


class UploadOut(Told):
    """An upload, and what has come of it."""

    id: str = Field(examples=[ID])
    name: str
    owner: str
    state: Literal["open", "received", "read", "failed"]
    bytes: int = Field(description="As declared.")
    made: Seconds
    changed: Seconds
    error: str | None
    files: list[FileOut] | None = Field(None, description="While it is open.")
    studies: list[str] = Field(default_factory=list, description="What was found in it, once it is read.")
    skipped: list[Skipped] = Field(default_factory=list)
    failed: list[Failed] = Field(default_factory=list)


class Received(Told):
    """How much of a file has come."""

    received: int


class StudyOut(Told):
    """A study, and what was found in it."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [STUDY]})

    id: str
    name: str
    study_uid: str | None
    upload: str
    owner: str
    state: Literal["gathering", "waiting", "running", "done", "failed"]
    progress: float = Field(description="Share that is judged, 0 to 1.")
    verdict: Literal["suspicious", "inconclusive", "no_evidence"] | None = Field(
        description="Of its most suspicious series."
    )
    probability: float | None = Field(description="Calibrated, of that series.")
    provenance: Literal["verified", "absent", "broken", "contradictory"] | None
    modalities: tuple[str, ...]
    series: int
    slices: int
    bytes: int
    opinion: Opinion | None = Field(description="Of the latest review.")
    error: str | None
    made: Seconds
    changed: Seconds
    ended: Seconds | None
    expires: Seconds | None


class StudiesOut(Told):
    """Some studies, and how many there are in all."""

    total: int
    studies: list[StudyOut]


class ResultOut(Told):
    """A file with results."""

    name: str = Field(examples=["report.pdf"])
    bytes: int
    kind: str = Field(examples=["report"])


class ReviewIn(Asked):
    """What a person thinks of a series."""

    series: Name = Field(examples=["case17"], description="Its name in the report.")
    opinion: Opinion
    comment: Text = ""


class ReviewOut(Told):
    """What a person thought of a series."""

    id: int
    series: str
    digest: str = Field(description="Of its pixels.")
    opinion: Opinion
    comment: str
    user: str
    time: Seconds


class ComparisonIn(Asked):
    """Two studies."""

    before: Name = Field(examples=[ID])
    after: Name = Field(examples=["7c9e6679742540de944be07fc1f90ae7"])


class ComparisonOut(Told):
    """What differs between two studies."""

    id: str
    before: StudyOut
    after: StudyOut
    state: Literal["waiting", "done", "failed"]
    error: str | None
    result: dict[str, Any] | None = Field(description="For each pair of series: what changed, and both verdicts.")


class ModelOut(Told):
    """A model, as its Card has it."""

    name: str
    version: str
    sha256: str
    licence: str
    intended_use: str
    modality: str
    default: bool = Field(description="Whether it judges without being asked for by name.")


class ModelFull(ModelOut):
    """The same with what was measured."""

    training: dict[str, Any]
    results: dict[str, Any]
    miss_rates: list[Pair] = Field(description="False alarms per authentic series, forgeries missed.")


class IdentityOut(Told):
    """Who asks."""

    name: str
    role: Role


class LoginIn(Asked):
    """Name and password."""

    name: Name
    password: Annotated[str, StringConstraints(min_length=1, max_length=MOST_PASSWORD)]


class PasswordIn(Asked):
    """The old and the new password."""

    old: Annotated[str, StringConstraints(min_length=1, max_length=MOST_PASSWORD)]
    new: Annotated[str, StringConstraints(min_length=LEAST_PASSWORD, max_length=MOST_PASSWORD)]


class TokenIn(Asked):
    """A token that is wanted."""

    label: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]+$")] = Field(
        examples=["nightly import"]
    )
    days: Annotated[float, Field(gt=0, le=3650)] = 90.0


class TokenOut(Told):
    """A token without its secret."""

    id: str
    label: str
    made: Seconds
    expires: Seconds


class NewToken(TokenOut):
    """A token with its secret, which is told this once."""

    token: str


UserName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._@-]+$"),
    Field(examples=["reading-room"]),
]
Password = Annotated[str, StringConstraints(min_length=LEAST_PASSWORD, max_length=MOST_PASSWORD)]


class UserIn(Asked):
    """A user that is to be made."""

    name: UserName = Field(examples=["reading-room"])
    role: Role
    password: Password | None = Field(None, description="Without one it has tokens alone.")


class UserChange(Asked):
    """What is to change of a user."""

    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None


class UserOut(Told):
    """A user."""

    name: str
    role: Role
    disabled: bool
    made: Seconds
    has_password: bool
