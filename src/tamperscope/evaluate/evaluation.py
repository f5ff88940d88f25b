"""A whole evaluation: the cases of a manifest, a model's answers to them, all figures, and the page that shows them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngInfo

from tamperscope import detectors, weights
from tamperscope.datasets import cases, join
from tamperscope.datasets.cases import Group
from tamperscope.datasets.manifest import Entry, Tick, digested, full_digest
from tamperscope.errors import InputError, UsageError
from tamperscope.evaluate import against, audit, baseline, examples, leak, page, plots, robustness, store
from tamperscope.evaluate.outcomes import Outcome, Tested
from tamperscope.evaluate.page import Example
from tamperscope.evaluate.run import Run, run, run_changed, selected
from tamperscope.evaluate.summary import by_patient, by_series, by_slice, summary
from tamperscope.records import JSON
from tamperscope.report.files import save
from tamperscope.verdict import Policy
from tamperscope.weights import Card

SCHEMA = "tamperscope/evaluation/1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an evaluation is asked for."""

    model: str
    """Name of a packaged Card, the path of one, or the folder of a training (`baseline`) or its name in `store`."""
    data: Path | tuple[Path, ...]
    """A manifest, or a folder that holds one; several are judged as one."""
    out: Path
    part: str | None = None
    false_alarms: float = 0.01
    resamples: int = 1000
    examples: int = 3
    """Worst misses, and worst false alarms, that are drawn."""
    robustness: bool = False
    """Judge every series again under each change of `robustness.grid`."""
    audit: bool = False
    """Look for shortcuts in the set, and for a model that takes one: see `audit`."""
    against: tuple[Path, ...] = ()
    """Folders of other evaluations of the same manifest, whose models this one is held against: see `against`."""
    slice_split: Path | None = None
    """Folder of the evaluation of the same system on a split by slices: see `leak`."""
    seed: int = 0
    threads: int | None = None

    @property
    def manifests(self) -> tuple[Path, ...]:
        """All that is to be judged together."""
        return self.data if isinstance(self.data, tuple) else (self.data,)


def evaluate(asked: Asked, tick: Tick | None = None) -> tuple[Run, dict[str, JSON]]:
    """Judge, reckon, and write ``evaluation.json`` and ``evaluation.html`` into ``asked.out``.

    Raises:
        UsageError: no such model or part, or a folder that holds another evaluation.
        InputError: a manifest cannot be used, two of them list one file, or all of it is of one class.
        WeightsError: the model is damaged.
        MissingExtraError: the library that draws the plots is not installed.
    """
    tested, sha256 = chosen(asked)
    listed = join.entries(join.read(asked.manifests), asked.part)
    entries = digested(selected(listed, asked.part), tick)
    others = [against.other(folder, full_digest(entries)) for folder in asked.against]
    leaking = None if asked.slice_split is None else leak.read(asked.slice_split)
    plots.require()
    answers = run(entries, tested, {"sha256": sha256, "false_alarms": asked.false_alarms}, asked.out, tick)
    outcomes = answers.outcomes
    rng = np.random.default_rng(asked.seed)
    figures = summary(outcomes, tested.threshold, rng, asked.resamples)
    if asked.robustness:
        figures["robustness"] = under_changes(entries, tested, sha256, asked, figures, tick)
    if asked.audit:
        figures["audit"] = audited(entries, tested, outcomes, tick)
    if leaking is not None:
        figures["slice_split"] = leak.beside(tested.name, figures, leaking)
    if others:
        figures["against"] = against.compared(tested.name, outcomes, others, rng, asked.resamples)
    about: dict[str, JSON] = {"schema": SCHEMA, "model": tested.name, "sha256": sha256, "part": asked.part}
    save(asked.out / "evaluation.json", (json.dumps(about | figures, indent=2) + "\n").encode())
    levels = {"series": by_series(outcomes), "patients": by_patient(outcomes), "slices": by_slice(outcomes)}
    groups = {cases.name_of(group[0]): group for group in cases.by_series(entries)}
    shown = [drawn(one, groups[one.name], tested, asked.out) for one in examples.worst(outcomes, asked.examples)]
    curves = plots.every(outcomes, levels, tested.threshold)
    text = page.render(tested.name, figures, curves, shown, answers.failed, plotted(figures))
    save(asked.out / "evaluation.html", text.encode())
    return answers, figures


def chosen(asked: Asked) -> tuple[Tested, str]:
    """The model that is asked for, and the digest of its weights.

    Raises:
        UsageError: there is no such model.
        WeightsError: it is damaged.
    """
    policy = Policy.at(asked.false_alarms)
    trained = (Path(asked.model), store.found(asked.model))
    folder = next((one for one in trained if one is not None and (one / baseline.MODEL).is_file()), None)
    if folder is not None:
        return baseline.as_tested(folder, policy, asked.threads), baseline.read_baseline(folder).sha256
    card = card_of(asked.model)
    return Tested(card.name, detectors.from_card(card, asked.threads), card.calibration, policy), card.sha256


def under_changes(
    entries: Sequence[Entry], tested: Tested, sha256: str, asked: Asked, figures: Mapping[str, JSON], tick: Tick | None
) -> list[JSON]:
    """A row for every change of the grid, the lowest AUROC first, and before them that without any change."""
    plain, seen = figures["series"], figures["cases"]
    first: dict[str, JSON] = {"change": "none", "not_applicable": 0}
    if isinstance(plain, dict) and isinstance(seen, dict):
        first |= {key: plain[key] for key in ("auroc", "auroc_interval", "recall", "false_alarm_rate")}
        first |= {key: seen[key] for key in ("refused", "series", "cleared")}
    about: dict[str, JSON] = {"sha256": sha256, "false_alarms": asked.false_alarms}
    changes = robustness.grid()
    runs = run_changed(entries, tested, about, asked.out, changes, tick)
    return [first, *robustness.rows([one.name for one in changes], runs, tested.threshold, asked.resamples)]


def plotted(figures: Mapping[str, JSON]) -> bytes | None:
    """The plot of the robustness rows in the order of the grid; None where there are none."""
    rows = figures.get("robustness")
    if not isinstance(rows, list):
        return None
    order = ["none", *(change.name for change in robustness.grid())]
    named = {row["change"]: row for row in rows if isinstance(row, dict)}
    return plots.robust([named[name] for name in order if name in named])


def audited(entries: Sequence[Entry], tested: Tested, outcomes: Sequence[Outcome], tick: Tick | None) -> JSON:
    """The rows of the shortcut battery, and what they say in words. Cases that cannot be read are left out.

    Patient by patient, with no more in memory than one forgery and the patient's authentic series. The scores of
    forgery and twin are those of ``outcomes``.
    """
    groups = sorted(cases.by_series(entries), key=lambda group: (group[0].patient, group[0].label))
    battery = audit.Battery(tested, {one.name: one.score for one in outcomes})
    for number, group in enumerate(groups):
        if tick is not None:
            tick("looking for shortcuts", number, len(groups))
        try:
            battery.add(cases.opened(group))
        except InputError:
            continue
    rows = battery.rows()
    return {"rows": [dict(row) for row in rows], "in_words": [*audit.in_words(rows)]}


def card_of(model: str) -> Card:
    """The Card of a packaged model by its name, or the one in a file.

    Raises:
        UsageError: there is none; the message lists those of the package.
        WeightsError: the file is no Card.
    """
    packaged = {card.name: card for card in weights.packaged()}
    if model in packaged:
        return packaged[model]
    if Path(model).is_file():
        return weights.read_card(Path(model))
    known = ", ".join([*packaged, *store.names()])
    raise UsageError(
        f"no model is called {model}",
        hint=f"there are {known}; or give the JSON of a Card, or the folder of a training",
    )


def drawn(one: Outcome, group: Group, tested: Tested, out: Path) -> Example:
    """Open a case again, and keep its picture in the folder ``examples`` too."""
    stream = io.BytesIO()
    made_by = PngInfo()
    made_by.add_text("Software", "tamperscope")  # by which a scan knows its own results
    examples.draw(cases.opened(group), one, tested).save(stream, format="PNG", pnginfo=made_by)
    save(out / "examples" / f"{one.name.replace('/', '-')[-80:]}.png", stream.getvalue())
    return Example(examples.title(one), stream.getvalue())
