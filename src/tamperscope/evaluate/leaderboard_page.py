"""A leaderboard as files: HTML for the eye, Markdown and SVG for a page, CSV for a spreadsheet, JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import tamperscope
from tamperscope.errors import MissingExtraError
from tamperscope.evaluate import page, plots
from tamperscope.evaluate.leaderboard import Row
from tamperscope.report import words

NAME = "leaderboard"
Cell: TypeAlias = tuple[str, str]
"""What it says, and what is added in small print."""
MIB = 2**20
ROW_INCHES = 0.28


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table for people."""

    title: str
    cell: Callable[[Mapping[str, Any]], Cell]


def files(board: Mapping[str, Any]) -> dict[str, bytes]:
    """The leaderboard in every format, by file name, and the plot of each table; none without matplotlib."""
    drawn = forests(board)
    return {
        f"{NAME}.json": (json.dumps(board, indent=2, ensure_ascii=False) + "\n").encode(),
        f"{NAME}.csv": to_csv(board).encode(),
        f"{NAME}.md": to_markdown(board).encode(),
        f"{NAME}.html": to_html(board, drawn).encode(),
        **{f"{NAME}-{number}.svg": svg for number, svg in enumerate(drawn, start=1) if svg is not None},
    }


# --- cells ---


def figure(name: str, row: Mapping[str, Any]) -> Cell:
    """A figure with its interval, and its spread over seeds."""
    found = row[name]
    small = [] if found["interval"] is None else [" to ".join(_rate(value) for value in found["interval"])]
    small += [] if found["spread"] is None else [f"± {found['spread']:.3f} over {len(row['seeds'])} seeds"]
    return _rate(found["mean"]), "; ".join(small)


def plain(name: str, row: Mapping[str, Any]) -> Cell:
    """A share or an area."""
    return _rate(row[name]), ""


def differs(row: Mapping[str, Any]) -> Cell:
    """Whether the model differs from the best."""
    found = row["against_best"]
    if found is None:
        return "", ""
    said = "cannot tell" if found["differs"] is None else "yes" if found["differs"] else "no"
    return said, "" if found["p_holm"] is None else f"p = {found['p_holm']:.3f}"


def _model(row: Mapping[str, Any]) -> Cell:
    return row["model"], "Card, trained elsewhere" if row["system"] is None else row["system"]


def _mapped(name: str, row: Mapping[str, Any]) -> Cell:
    return ("no map", "") if row[name] is None else (_rate(row[name]), "")


def _worst(row: Mapping[str, Any]) -> Cell:
    found = row["worst"]
    return ("", "") if found is None else (_rate(found["auroc"]), found["generator"])


def _refused(row: Mapping[str, Any]) -> Cell:
    return ("", "") if row["refused"] is None else (f"{row['refused']:g}", f"of {row['series']}")


def _seconds(row: Mapping[str, Any]) -> Cell:
    value = row["seconds_a_slice"]
    threads = "" if row["threads"] is None else f"{row['threads']:g} threads" if row["threads"] > 1 else "1 thread"
    return ("", "") if value is None else (f"{value:.3g}", threads)


def _parameters(row: Mapping[str, Any]) -> Cell:
    value = row["parameters"]
    return ("", "") if value is None else (f"{value:,.0f}", "")


def _mib(name: str, row: Mapping[str, Any]) -> Cell:
    return ("", "") if row[name] is None else (f"{row[name] / MIB:,.0f}", "")


def _minutes(row: Mapping[str, Any]) -> Cell:
    value = row["training_seconds"]
    return ("", "") if value is None else (f"{value / 60:.3g}", "")


def _rate(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.3f}"


NEEDED = (
    Column("model", _model),
    Column("AUROC by series", partial(figure, "auroc")),
    Column("differs from the best", differs),
    Column("AUROC by slice", partial(plain, "slice_auroc")),
    Column("forged called suspicious", partial(figure, "recall")),
    Column("authentic called suspicious", partial(figure, "false_alarm_rate")),
    Column("found at 1 % false alarms", partial(plain, "detection_at_0.01")),
    Column("worst generator", _worst),
)
WHERE_MEASURED = {
    "pointing": Column("pointing game", partial(_mapped, "pointing")),
    "pixel_f1": Column("voxel F1", partial(_mapped, "pixel_f1")),
}
COSTS = (
    Column("refused", _refused),
    Column("seconds a slice", _seconds),
    Column("parameters", _parameters),
    Column("minutes of training", _minutes),
    Column("MiB, training", partial(_mib, "training_bytes")),
    Column("MiB, judging", partial(_mib, "judging_bytes")),
)


def columns(rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns of a table: those of the place only where a model has a map."""
    placed = tuple(column for name, column in WHERE_MEASURED.items() if any(one[name] is not None for one in rows))
    return (*NEEDED, *placed, *COSTS)


def ranked(table: Mapping[str, Any]) -> list[Row]:
    """The rows that have figures; the others are told with the reason."""
    return [one for one in table["rows"] if one["seeds"] or one["series"]]


def heading(table: Mapping[str, Any]) -> str:
    """What was judged, in a sentence or two."""
    cases = table["cases"]
    part = "" if table["part"] is None else f" of the part {table['part']}"
    said = [
        f"{cases['series']} series of {cases['patients']} patients{part}: {cases['forged']} forged, "
        f"{cases['authentic']} authentic, {cases['slices']} slices."
    ]
    if table["left_out"]:
        said.append(
            f"Trained without any forgery by {table['left_out']} (Cards as they are), judged on those and on all "
            "authentic series."
        )
    if table["slice_split"]:
        said.append("Split by slice: slices of one patient are on both sides. Only to show what that adds.")
    if table["allow_leaks"]:
        said.append("Nobody looked for leaks: the suite allows them.")
    return " ".join(said)


def problems(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Models whose row is missing or incomplete, and why."""
    return [(one["model"], one["state"]) for one in table["rows"] if one["state"] != "done"]


# --- formats ---

NOTES = (
    "Best first. Intervals hold 95 % and draw whole patients. A model differs from the best if a paired bootstrap over "
    "patients says so after Holm's correction for the number of models. A refused series counts as not flagged and "
    "ranks last. Suspicious is what reaches the threshold, fixed before any of these cases was seen. Memory is the "
    "peak of the process on the machine; seconds a slice are those of answered series.",
)


def to_markdown(board: Mapping[str, Any]) -> str:
    """For a repository."""
    parts = [f"# {_md(board['name'])}: leaderboard", *NOTES]
    for table in board["tables"]:
        parts += [f"## {_md(table['name'])}", _md(heading(table)), _markdown_of(table)]
        parts += [f"- {_md(model)}: {_md(state)}" for model, state in problems(table)]
        parts += [f"```text\n{_lines(table)}\n```"]
    parts += [_markdown_extra(title, said, head, rows) for title, said, head, rows in extras(board)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_of(table: Mapping[str, Any]) -> str:
    rows = ranked(table)
    if not rows:
        return "No model has figures yet."
    shown = columns(rows)
    return _grid([one.title for one in shown], ([_joined(one.cell(row)) for one in shown] for row in rows))


def _markdown_extra(title: str, said: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {_md(title)}\n\n{said}\n\n{_grid(head, rows)}"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(_md(cell) if n != 1 else cell for cell in line)} |" for n, line in enumerate(lines)
    )


def _joined(cell: Cell) -> str:
    return f"{cell[0]} ({cell[1]})" if cell[1] else cell[0]


def _md(text: str) -> str:
    """Text that Markdown does not take for something else."""
    return "".join(f"\\{c}" if c in "\\|<>[]*_`#" else c for c in words.visible(text))


def _lines(table: Mapping[str, Any]) -> str:
    """The commands that make the rows again."""
    return "\n".join(words.visible(one) for one in dict.fromkeys(c for row in table["rows"] for c in row["commands"]))


def to_csv(board: Mapping[str, Any]) -> str:
    """One row for each model and table; numbers in full, an empty cell for what is not measurable."""
    out = io.StringIO()
    rows = [_flat(table, one) for table in board["tables"] for one in table["rows"]]
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(table: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    found: Row = {key: table[key] for key in ("data", "left_out", "part", "slice_split")}
    found |= {"model": row["model"], "system": row["system"], "state": row["state"]}
    found["seeds"] = " ".join(str(seed) for seed in row["seeds"])
    for name in ("auroc", "recall", "false_alarm_rate"):
        one = row[name]
        low, high = one["interval"] or (None, None)
        found |= {name: one["mean"], f"{name}_spread": one["spread"], f"{name}_low": low, f"{name}_high": high}
    alone = ("patient_auroc", "slice_auroc", "detection_at_0.01", "pointing", "pixel_f1", "refused", "series")
    found |= {name: row[name] for name in alone}
    worst, best = row["worst"] or {}, row["against_best"] or {}
    found |= {"worst_generator": worst.get("generator"), "worst_auroc": worst.get("auroc")}
    found |= {f"against_best_{key}": best.get(key) for key in ("difference", "p_value", "p_holm", "differs")}
    costs = ("seconds_a_slice", "parameters", "training_seconds", "training_bytes", "judging_bytes", "threads")
    found |= {name: row[name] for name in costs}
    return found | {"commands": "; ".join(row["commands"])}


Extra: TypeAlias = tuple[str, str, list[str], list[list[str]]]


def extras(board: Mapping[str, Any]) -> list[Extra]:
    """The tables below the tables: title, what it says, head, rows."""
    found: list[Extra] = []
    for one in board["left_out"]:
        said = (
            "AUROC by series on a generator that the model never met, mean of them all and the worst; best worst first."
        )
        head = ["model", *one["generators"], "mean", "worst"]
        rows = [
            [
                row["model"],
                *(_rate(row["auroc"].get(name)) for name in one["generators"]),
                _rate(row["mean"]),
                _rate(row["worst"]),
            ]
            for row in one["rows"]
        ]
        found.append((f"{one['data']}: generators that were left out", said, head, rows))
    for one in board["slice_split"]:
        said = "AUROC by slice of the same models, split by slice and by patient: the difference is what leaking adds."
        head = ["model", one["data"], one["beside"], "difference"]
        rows = [
            [
                row["model"],
                _rate(row["by_slice"]),
                _rate(row["by_patient"]),
                "not measurable" if row["difference"] is None else f"{row['difference']:+.3f}",
            ]
            for row in one["rows"]
        ]
        found.append((f"{one['data']}: what a split by slice adds", said, head, rows))
    return found


def forests(board: Mapping[str, Any]) -> list[bytes | None]:
    """The plot of each table as SVG; None where there is nothing to draw, or matplotlib is not installed."""
    return [_forest(table) for table in board["tables"]]


def _forest(table: Mapping[str, Any]) -> bytes | None:
    rows = [
        (
            one["model"],
            one["auroc"]["mean"],
            one["auroc"]["interval"],
            bool(one["against_best"] and one["against_best"]["differs"]),
        )
        for one in ranked(table)
        if one["auroc"]["mean"] is not None
    ]
    if not rows:
        return None
    try:
        return plots.drawn(lambda axes: plots.forest(axes, rows), (7.0, 0.9 + ROW_INCHES * len(rows)))
    except MissingExtraError:
        return None


def to_html(board: Mapping[str, Any], drawn: Sequence[bytes | None]) -> str:
    """The page: it needs nothing else, and all that comes from the suite is escaped."""
    tables = []
    for table, svg in zip(board["tables"], drawn, strict=True):
        rows = ranked(table)
        shown = columns(rows) if rows else ()
        tables.append(
            {
                "name": table["name"],
                "heading": heading(table),
                "head": [one.title for one in shown],
                "rows": [[one.cell(row) for one in shown] for row in rows],
                "plot": None if svg is None else page.inline(svg, "svg+xml"),
                "problems": problems(table),
                "commands": _lines(table),
            }
        )
    text = page.template("leaderboard.html.j2").render(
        name=board["name"],
        tables=tables,
        extras=extras(board),
        notes=NOTES,
        disclaimer=words.DISCLAIMER,
        version=tamperscope.__version__,
    )
    return f"{text}\n"
