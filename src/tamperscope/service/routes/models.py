"""The models and what was measured of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from tamperscope import detectors
from tamperscope.errors import UsageError
from tamperscope.service.routes.common import PROBLEMS, Viewer
from tamperscope.service.schemas import ModelFull, ModelOut
from tamperscope.service.uploads import MissingError
from tamperscope.weights import Card

router = APIRouter(prefix="/api/v1/models", tags=["models"], responses=PROBLEMS)


@router.get("")
def find(_: Viewer) -> list[ModelOut]:
    """The models of this service."""
    return [ModelOut.model_validate(_facts(card)) for card in detectors.packaged_cards()]


@router.get("/{name}")
def one(name: Annotated[str, Path(max_length=100, examples=["ct-fast"])], _: Viewer) -> ModelFull:
    """A model with its training, its error rates and its measured results."""
    try:
        card = detectors.chosen_card(name)
    except UsageError as error:
        raise MissingError("no model is called so", hint=error.hint) from error
    more = {"training": card.training, "results": card.results, "miss_rates": card.calibration.miss_rates}
    return ModelFull.model_validate({**_facts(card), **more})


def _facts(card: Card) -> dict[str, Any]:
    stated = {name: getattr(card, name) for name in ("name", "version", "sha256", "licence", "intended_use")}
    return {**stated, "modality": card.input.modality, "default": card.name not in detectors.ON_REQUEST}
