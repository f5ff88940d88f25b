"""What the reports for people say, whatever they are printed on: the sentences and tables of HTML and PDF.

They are for readers who were not there and know nothing of the program: an insurer, a journal editor, a judge. Text
that came from the input is handed on as it is; whoever prints it makes it safe.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, zip_longest

from tamperscope.records import JSON, Finding, Label, OperatingPoint, Origin, Report, SeriesResult, StudyResult
from tamperscope.weights import Card

from . import json, words

TITLE = "Was this image altered?"
LABELS = {"suspicious": "Suspicious", "no_evidence": "No evidence", "inconclusive": "Inconclusive"}
SEVERITIES = ("alarm", "warning", "note")
FILES, ALL_FILES = 20, 400
"""Most files whose digest is printed: of a series, and of all. report.json holds them all."""
PREVALENCE = 1000
"""The example of `rarely`: one forged series among so many."""

GLOSSARY = (
    "auroc: how well forged and authentic are told apart, from 0.5 (not at all) to 1 (always); found: share of "
    "forgeries called suspicious; pointing: share whose forged place was pointed at; refused: not judged; low, high: "
    "bounds of the share of suspicious ones, or of hits, with 95 % confidence (Wilson)."
)
NO_CARD = "No card of a model that took part is at hand, so its error rates cannot be stated here."
PROVENANCE = "What the files say of their own origin, and whether it fits. It does not change the probability."

METHOD = (
    "The images were read from the files without changing them, and decoded to the values that the files hold. A "
    "series is one acquisition: all slices of a CT scan, say, or one radiograph.",
    "A model, as a rule a neural network that was trained on authentic images and on forgeries of them, looks at every "
    "place of every slice for traces that editing and generating leave in the noise and the fine texture of pixels, "
    "and gives each place a score. It does not judge anatomy or disease, and it does not know the patient.",
    "The scores were calibrated on patients that the model had not seen: from authentic images and from forgeries of "
    "them follows which probability of tampering a score stands for. The probability of a series is that of its most "
    "striking place. It depends on how common and of what kind the forgeries in those data were.",
    "The series is called suspicious when the probability reaches a threshold. The threshold is chosen for the share "
    "of authentic series that are called suspicious by mistake; how many forgeries are missed follows from it, and "
    "depends on how they were made.",
    "A series that is unlike those that the model was trained on (another kind of picture, another resolution, noise "
    "that it does not know), or whose pixels were processed in a way that hides forgeries, is not judged clean: the "
    "answer is inconclusive, with the reason.",
    "What the files say of their own origin is listed apart, as provenance. It does not change the probability; but a "
    "signature that does not match is proof of a change and comes before any score.",
)
"""The method in plain words, a paragraph each."""


@dataclass(frozen=True, slots=True)
class Imprint:
    """What a report says of itself."""

    digest: str
    """SHA-256 of ``report.json``, hexadecimal: the name of this report."""
    made: datetime | None = None
    fingerprint: str = ""
    """SHA-256 of the signer's public key; empty where the report is not signed."""
    openssl: str = ""
    """How OpenSSL verifies the signature."""

    @property
    def short(self) -> str:
        """The first 16 digits of the digest, in fours."""
        return " ".join(self.digest[i : i + 4] for i in range(0, 16, 4))

    @property
    def date(self) -> str:
        """Day and minute, with the zone where it is known; empty if no time was given."""
        return self.made.strftime("%Y-%m-%d %H:%M %Z").strip() if self.made else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A series with its number in the report, counted from 1."""

    number: int
    study: StudyResult
    result: SeriesResult


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a head and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A study in a list of studies."""

    label: str
    """What its owner calls it."""
    modality: str
    verdict: Label
    probability: float | None
    made: datetime | None = None
    """When it was judged."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """A picture of it, in a format that Pillow reads."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A finding of provenance, and the numbers of the series that share it."""

    finding: Finding
    series: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a reader can verify: what, and the command that does it (none where no command does)."""

    text: str
    command: str = ""


def imprint(
    report: Report,
    *,
    heatmaps: Collection[str] = (),
    made: datetime | None = None,
    fingerprint: str = "",
    openssl: str = "",
) -> Imprint:
    """The imprint of a report; ``heatmaps`` as for `report.json.render`, whose text is what the digest is of."""
    digest = hashlib.sha256(json.render(report, heatmaps=heatmaps).encode()).hexdigest()
    return Imprint(digest, made, fingerprint, openssl)


def entries(report: Report) -> tuple[Entry, ...]:
    """All series in the order of the report."""
    pairs = [(study, result) for study in report.studies for result in study.series]
    return tuple(Entry(number, study, result) for number, (study, result) in enumerate(pairs, 1))


def ranked(report: Report) -> tuple[Entry, ...]:
    """All series, the most suspicious first; within a verdict those without a probability last."""
    order = ("suspicious", "inconclusive", "no_evidence")

    def key(entry: Entry) -> tuple[int, float, int]:
        chance = entry.result.probability
        return order.index(entry.result.verdict), -(chance if chance is not None else -1.0), entry.number

    return tuple(sorted(entries(report), key=key))


def answer(report: Report) -> str:
    """The whole answer as one or two sentences."""
    counts = Counter(result.verdict for result in report.series)
    every, broken = len(report.series), sum(result.broken for result in report.series)
    if not every:
        return "Nothing could be examined, so nothing can be said."
    if broken:
        which = "The series examined was" if every == 1 else f"{broken} of the {every} series examined were"
        return f"{which} changed after being signed, whatever the pixels show. {_pixels(report, counts, every)}"
    return _pixels(report, counts, every)


def _pixels(report: Report, counts: Counter[Label], every: int) -> str:
    """What the pixels show, in one or two sentences."""
    if every == 1:
        return _single(report.series[0])
    if counts["suspicious"]:
        return f"Signs of tampering were found in {counts['suspicious']} of the {every} series examined."
    if counts["inconclusive"] == every:
        return f"No conclusion can be drawn on any of the {every} series examined."
    if counts["inconclusive"]:
        unclear = f"No conclusion can be drawn on {counts['inconclusive']} of the {every} series examined."
        return f"{unclear} In the others, no evidence of tampering was found."
    return f"No evidence of tampering was found in any of the {every} series examined."


def _single(result: SeriesResult) -> str:
    if result.verdict == "suspicious":
        return "Signs of tampering were found in the series examined."
    if result.verdict == "inconclusive":
        return "No conclusion can be drawn on the series examined."
    return "No evidence of tampering was found in the series examined."


def examined(report: Report) -> str:
    """What was looked at, and what could not be."""
    files = sum(len(result.files) for result in report.series)
    kinds = ", ".join(sorted({words.visible(result.modality)[:16] for result in report.series}))
    parts = [_count(len(report.studies), "study", "studies"), _count(len(report.series), "series", "series")]
    text = f"{', '.join(parts)} ({kinds})" if kinds else ", ".join(parts)
    text += f" in {_count(files, 'file')}."
    if report.failed:
        text += f" {_count(len(report.failed), 'input')} could not be read, see “Inputs that failed”."
    if report.skipped:
        text += f" {_count(len(report.skipped), 'object')} held no image to examine."
    return text


def rates(report: Report) -> tuple[str, ...]:
    """Both error rates of each model at each setting that was used, a sentence each."""
    points = {_setting(result): result.operating_point for result in report.series if result.operating_point}
    return tuple(rate(model, point) for (model, _, _), point in points.items())


def unjudged(report: Report) -> str:
    """What is said of the series that have no operating point; empty if all have one."""
    without = sum(result.operating_point is None for result in report.series)
    if not without:
        return ""
    which = "the series" if len(report.series) == 1 else f"{without} of the {len(report.series)} series"
    return f"No calibrated model could judge {which}: there, neither a probability nor error rates can be stated."


def _setting(result: SeriesResult) -> tuple[str, float, float]:
    point = result.operating_point
    threshold, alarms = (point.threshold, point.false_positive_rate) if point else (0.0, 0.0)
    return result.evidence[0].detector if result.evidence else "", threshold, alarms


def rate(model: str, point: OperatingPoint) -> str:
    """Both error rates of one setting."""
    who = f"Model {words.visible(model)[:60]}: a" if model else "A"
    text = f"{who} series is called suspicious from a probability of {words.probability(point.threshold)} on. "
    if point.false_positive_rate > 0:
        once = often(point.false_positive_rate)
        text += f"That is set so that {once} authentic series is called suspicious by mistake, a false alarm"
    else:
        text += "That is set so that no authentic series of those it was tuned on is called suspicious by mistake"
    if point.miss_rate is None:
        return f"{text}. The share of forgeries that are missed was not measured at this setting."
    return f"{text}; {point.miss_rate:.0%} of the simulated forgeries that it was measured on are missed."


def often(share: float) -> str:
    """A share as "1 in 100"."""
    every = 1 / share
    about = "" if abs(every - round(every)) < 1e-6 * every else "about "
    return f"{about}1 in {round(every)}"


def rarely(report: Report) -> str:
    """What an alarm is worth where forgeries are rare, by Bayes' rule; empty without an alarm or without both rates."""
    worst = next((r for r in report.series if r.verdict == "suspicious" and r.operating_point), None)
    point = worst.operating_point if worst else None
    if point is None or point.miss_rate is None or not point.false_positive_rate > 0:
        return ""
    true = (1 - point.miss_rate) / PREVALENCE
    share = true / (true + point.false_positive_rate * (1 - 1 / PREVALENCE))
    return (
        f"An example of why that matters: if 1 in {PREVALENCE} series were forged, and the forgeries were like the "
        f"simulated ones, about {max(1, round(100 * share))} in 100 alarms would be right. The more there is that "
        "speaks for a forgery beforehand, the more an alarm is worth."
    )


def follows(report: Report) -> tuple[str, ...]:
    """What follows from the answer."""
    labels = {result.verdict for result in report.series}
    texts = []
    if "suspicious" in labels:
        texts.append(
            "A suspicious series needs a closer look: a radiologist should look at the marked places, and the images "
            "should be compared with the originals in the archive of the institution that made them."
        )
    if "no_evidence" in labels:
        texts.append(f"Where no evidence was found, the model saw none of the traces that it knows. {words.NO_PROOF}")
    if "inconclusive" in labels:
        texts.append("An inconclusive series is neither cleared nor accused: the reason is given with it.")
    if not labels:
        texts.append("Give the files again, as they came from the scanner or the archive.")
    return tuple(texts)


def limits(report: Report) -> tuple[str, ...]:
    """What does not follow from the answer."""
    texts = ["The result is for research use only, not for diagnosis: it says nothing about anyone's health."]
    if any(result.verdict == "suspicious" for result in report.series):
        texts.append(
            "It does not follow who changed an image, when or why, nor that anyone meant to deceive: other processing "
            "can leave similar traces."
        )
    if report.series:
        texts.append(
            "A probability proves nothing by itself: weigh it with the error rates and all else that is known."
        )
    return tuple(texts)


def origins(report: Report) -> str:
    """One sentence on provenance for the first page."""
    found = Counter(origin.finding.severity for origin in provenance(report))
    counts = [_count(found[severity], severity) for severity in ("alarm", "warning") if found[severity]]
    if not counts:
        return "Where the files come from is another question; nothing that was seen of it raises a doubt by itself."
    return f"Where the files come from is another question: {' and '.join(counts)}, under Provenance."


def states(report: Report) -> tuple[tuple[str, str], ...]:
    """Each state of provenance that was met in words, and the series it was met in."""
    met: dict[Origin, list[int]] = {}
    for entry in entries(report):
        met.setdefault(entry.result.provenance.state, []).append(entry.number)
    told = ((f"{words.ORIGINS[state]}. {words.ORIGIN_MEANINGS[state]}", series) for state, series in met.items())
    return tuple((text, numbers(series)) for text, series in told)


def provenance(report: Report) -> tuple[Shared, ...]:
    """All findings of provenance, the severest first; one that several series share is listed once."""
    found: dict[Finding, list[int]] = {}
    for entry in entries(report):
        for finding in entry.result.provenance.findings:
            found.setdefault(finding, []).append(entry.number)
    rows = [Shared(finding, numbers(series)) for finding, series in found.items()]
    return tuple(sorted(rows, key=lambda row: SEVERITIES.index(row.finding.severity)))


def some(files: Sequence[str]) -> str:
    """The first few of the files that a finding is about."""
    more = f" and {len(files) - 4} more" if len(files) > 4 else ""
    return ", ".join(clipped(file, 60) for file in files[:4]) + more


def numbers(series: Iterable[int]) -> str:
    """Numbers in words: "1–3, 7"."""
    spans: list[list[int]] = []
    for number in sorted(set(series)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)


def models(report: Report, cards: Sequence[Card]) -> tuple[Card, ...]:
    """The Cards of the models whose evidence is in the report."""
    asked = {evidence.detector for result in report.series for evidence in result.evidence}
    return tuple(card for card in cards if card.name in asked)


def files(report: Report) -> tuple[tuple[str, str, str], ...]:
    """Number of the series, file and its digest, in the order of the report, as many as are printed."""
    rows = (
        (str(entry.number), clipped(file, 120), digest)
        for entry in entries(report)
        for file, digest in list(zip_longest(entry.result.files, entry.result.file_digests, fillvalue="–"))[:FILES]
    )
    return tuple(islice(rows, ALL_FILES))


def clipped(content: str, longest: int) -> str:
    """Visible text cut in its middle: the end of a path says more than its beginning."""
    content = words.visible(content)
    half = (longest - 1) // 2
    return content if len(content) <= longest else f"{content[:half]}…{content[-half:]}"


def card_facts(card: Card) -> tuple[tuple[str, str], ...]:
    """What a model is for, what it may judge and what it was made from."""
    facts = {
        "Intended use": card.intended_use,
        "Version": card.version,
        **card.input.facts(),
        **{_title(key): text for key, value in card.training.items() if (text := _fact(key, value))},
        "Licence": card.licence,
        "SHA-256": card.sha256 if card.file else f"{card.sha256} (of the calibration)",
    }
    return tuple(facts.items())


def _fact(key: str, value: JSON) -> str:
    """A fact of the training as text; people are counted, recipes are left to the Card itself."""
    if key in {"command", "manifest_sha256", "steps"} or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        people = key in {"patients", "calibrated_on"}
        return _count(len(value), "patient") if people else ""
    return str(value)


def error_rates(card: Card) -> Table:
    """What calibration says of both errors, setting by setting."""
    rows = tuple((f"{often(alarms)} ({alarms:.1%})", f"{miss:.0%}") for alarms, miss in card.calibration.miss_rates)
    return Table("Error rates by setting", ("authentic series called suspicious", "simulated forgeries missed"), rows)


def measured(card: Card) -> tuple[Table, ...]:
    """The figures that were measured, as the Card holds them."""
    return tuple(_measured(_title(key), value) for key, value in card.results.items() if isinstance(value, dict))


def _measured(title: str, value: Mapping[str, JSON]) -> Table:
    groups = {key: group for key, group in value.items() if isinstance(group, dict)}
    if not groups:
        return Table(title, ("figure", "value"), tuple((_words(key), _cell(cell)) for key, cell in value.items()))
    columns = tuple(dict.fromkeys(column for group in groups.values() for column in group))
    rows = tuple((name, *(_cell(group.get(c)) for c in columns)) for name, group in groups.items())
    return Table(title, ("group", *(_words(column) for column in columns)), rows)


def printed_by(card: Card) -> str:
    """The command that prints those figures; empty where none is stated."""
    command = card.results.get("command")
    return command if isinstance(command, str) else ""


def _cell(value: JSON) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def steps(report: Report, imprint: Imprint) -> tuple[Step, ...]:
    """How a reader verifies the report, from the paper to the pixels."""
    same = f"This page belongs to the report.json whose SHA-256 is {imprint.digest}."
    files = "The files at hand are those that were examined if their digests are those under Digests."
    version = words.visible(report.version)[:40]
    again = f"The same files give the same answer again, with tamperscope {version} and the models under Digests."
    return (
        Step(same, "sha256sum report.json"),
        *_signed(imprint),
        Step(files, "sha256sum FILE"),
        Step(again, "tamperscope scan STUDY --out again"),
    )


def _signed(imprint: Imprint) -> tuple[Step, ...]:
    if not imprint.fingerprint:
        return (Step("It was not signed: a digest shows damage, but whoever changes a report can change the digest."),)
    whole = (
        "It was signed, and the signature covers every file of the report. The public key has to come from the signer "
        "by another way than the report, since whoever could change its files could change a key beside them."
    )
    key = (
        f"The key that signed has the fingerprint (SHA-256) {imprint.fingerprint}. Ask the signer whether it is theirs."
    )
    return (
        Step(whole, "tamperscope verify . --key public.pem"),
        Step("The same without tamperscope: the signature of the list,", imprint.openssl),
        Step("then the files on the list.", "sha256sum --check --strict report.sha256"),
        Step(key, "openssl pkey -pubin -in public.pem -outform DER | sha256sum"),
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _title(key: str) -> str:
    return _words(key).capitalize().replace("Ct gan", "CT-GAN").replace("auroc", "AUROC")


def _words(key: str) -> str:
    return key.replace("_", " ")
