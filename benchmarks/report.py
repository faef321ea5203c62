"""Writes the report of a benchmark run: Markdown, and one static HTML page with plots.

    python -m benchmarks.report benchmarks/results/latest.json

writes latest.md and latest.html next to it. The page needs no other file and no network.
"""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import figures, medians, ratios
from mobileface.diagnostics.published_times import PUBLISHED_MS
from mobileface.host.files import write_aside

__all__ = ["markdown", "page"]

Document = Mapping[str, Any]
Rows = Sequence[Sequence[str]]

_IDENTIFICATION = tuple(f"identification_v{version}" for version in (1, 2, 3))
_START = "start-up, identification_v2"
_UPSTREAM = "Comparison with upstream's published times"
_PUBLISHED: Mapping[str, tuple[str, str]] = {
    **{name: (f"{name}, end to end", "mobileface") for name in _IDENTIFICATION},
    "detection": ("detection_v2, 256x468", "mobileface"),
    "landmarks": ("landmark_eme, 1 faces", "mobileface"),
    "pose": ("pose", "mobileface"),
    "align": ("align, mobileface", "mobileface"),
    "attributes": ("attribute_v1, batch 1", "mobileface"),
    "tracking": ("tracker, 10 faces", "mobileface"),
}
"""Tasks that upstream published timings for, each with the group and engine of our measurement."""

_METHOD = (
    "One thread; the process is pinned to one CPU. After a warm-up, the runs of all engines are "
    "interleaved, input by input, on rotating real faces, frames or photos; timings are medians "
    "of all runs, p90 is their 90th percentile, error bars are their quartiles. Start-up time and "
    "peak memory are those of fresh processes, from the first import to the first result. The "
    "detection and attribute networks are the published ones with random weights. The engine "
    "onnxruntime runs a plain export: batch normalisation folded, nothing else changed. ncnn does "
    "not support batches and runs faces one after the other."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="the JSON file of a run")
    path = parser.parse_args().results
    document = json.loads(path.read_text(encoding="utf-8"))
    for suffix, render in ((".md", markdown), (".html", page)):
        write_aside(path.with_suffix(suffix), render(document))
        print(path.with_suffix(suffix))


def markdown(document: Document) -> str:
    """The report as Markdown."""
    parts = ["# Benchmarks", _machine(document), _METHOD]
    for title, note, head, rows in _tables(document):
        parts.append(f"## {title}")
        parts += [note] if note else []
        parts.append(_markdown_table(head, rows))
    return "\n\n".join(parts) + "\n"


def page(document: Document) -> str:
    """The report as one HTML page with plots."""
    from benchmarks import plots  # Markdown needs no matplotlib

    identification = {f"{name}, batch 1": name for name in _IDENTIFICATION}
    larger = {
        "detection_v2, 256x468": "detection_v2, 256×468",
        "attribute_v1, batch 1": "attribute_v1",
        "starter, embedding": "embedding_dlib",
    }
    drawn = [
        ("Identification, one face", plots.latencies(document, identification)),
        ("Detection, attributes, dlib's embedding", plots.latencies(document, larger)),
        ("Batches of faces", plots.batches(document, _IDENTIFICATION, (1, 4, 16))),
        ("Size against accuracy", plots.sizes(document)),
        ("Stages of the pipeline, photos of 1280×720", plots.pipeline(document)),
        ("Start-up time and peak memory, identification_v2", plots.starts(document, _START)),
        ("Memory use by step", plots.memory(document)),
    ]
    body = [f"<h1>Benchmarks</h1><p>{_escape(_machine(document))}</p><p>{_escape(_METHOD)}</p>"]
    tables = _tables(document)
    sections = [f"<section><h2>{_escape(t)}</h2>{svg}</section>" for t, svg in drawn if svg]
    first = [_html_table(*table) for table in tables if table[0] == _UPSTREAM]
    rest = [_html_table(*table) for table in tables if table[0] != _UPSTREAM]
    body += [*sections[:1], *first, *sections[1:], *rest]
    return _PAGE.format(body="\n".join(body))


def _machine(document: Document) -> str:
    """The description of the machine, as one paragraph."""
    about = document["machine_info"]
    peers = ", ".join(f"{name} {version}" for name, version in sorted(about["peers"].items()))
    features = ", ".join(about["features"])
    return (
        f"{about['cpu'] or about['machine']} ({about['machine']}; {features}), "
        f"{about['cpus_usable']} of {about['cpus']} CPUs usable, {about['threads']} thread used; "
        f"{about['system']}, Python {about['python']}, mobileface {about['mobileface']}, "
        f"numpy {about['numpy']}, onnxruntime {about['onnxruntime']}, "
        f"opencv {about['opencv-python-headless']}; {peers}. Measured {document['datetime'][:10]}."
    )


def _tables(document: Document) -> list[tuple[str, str, Sequence[str], Rows]]:
    """Title, note, head and rows of every table."""
    found = [
        (
            "Figures",
            "The performance targets of this project.",
            ("", "measured", "target", "figure"),
            [_figure(f.record()) for f in figures(document)],
        ),
        (
            _UPSTREAM,
            "In ms. Upstream's times were measured on upstream's hardware.",
            ("task", "published", "here", "p90"),
            _published(document),
        ),
        (
            "Variants",
            "Measured on people who are not in the calibration images, each model on its own crop, "
            "all on the same faces; 95 % confidence intervals, people resampled.",
            ("model", "variant", "MB", "pair AUC", "mean cosine to fp32", "minimum", "faces"),
            _variants(document),
        ),
        ("Start-up", "", ("process", "engine", "ms", "peak MiB"), _starts(document)),
        (
            "Memory use by step",
            "Resident memory of a process that embeds one face.",
            ("after", "MiB", "added", "private"),
            _memory(document),
        ),
        ("All timings", "", ("group", "engine", "ms", "p90", "ratio to ours"), _times(document)),
        (
            "Not measured",
            "",
            ("group", "engine", "reason"),
            [
                [fact["group"], fact["engine"], fact["reason"]]
                for fact in document["facts"]
                if fact["fact"] == "absent"
            ],
        ),
    ]
    return [table for table in found if table[3]]


def _figure(record: Mapping[str, Any]) -> list[str]:
    sign = "≥" if record["at_least"] else "≤"
    state = "met" if record["met"] else "missed"
    return [state, f"{record['value']:.4g}", f"{sign} {record['bound']:g}", record["what"]]


def _published(document: Document) -> Rows:
    times, tails = medians(document), _p90(document)
    rows = []
    for task, (group, engine) in _PUBLISHED.items():
        median = times.get(group, {}).get(engine)
        if median is not None:
            tail = tails.get((group, engine))
            rows.append([f"{task} ({group})", PUBLISHED_MS[task], _ms(median), _ms(tail)])
    return rows


def _variants(document: Document) -> Rows:
    return [
        [
            fact["model"],
            fact["variant"],
            f"{fact['bytes'] / 1e6:.2f}",
            _auc(fact),
            f"{fact['mean_cosine']:.6f}",
            f"{fact['min_cosine']:.6f}",
            str(fact.get("faces", "")),
        ]
        for fact in document["facts"]
        if fact["fact"] == "accuracy"
    ]


def _auc(fact: Mapping[str, Any]) -> str:
    """The area with its interval, if that was recorded."""
    if "auc_interval" not in fact:
        return f"{fact['auc']:.4f}"
    low, high = fact["auc_interval"]
    return f"{fact['auc']:.4f} ({low:.4f} to {high:.4f})"


def _starts(document: Document) -> Rows:
    times = medians(document)
    return [
        [
            fact["what"],
            fact["engine"],
            _ms(times[fact["what"]][fact["engine"]]),
            "" if fact["peak_bytes"] is None else f"{fact['peak_bytes'] / 2**20:.1f}",
        ]
        for fact in document["facts"]
        if fact["fact"] == "start"
    ]


def _memory(document: Document) -> Rows:
    rows, before = [], 0
    for fact in document["facts"]:
        if fact["fact"] == "memory":
            numbers = (fact["bytes"], fact["bytes"] - before, fact["private"])
            rows.append([fact["step"], *(f"{number / 2**20:.1f}" for number in numbers)])
            before = fact["bytes"]
            last = fact
    if rows:
        rows.append(["peak", f"{last['peak'] / 2**20:.1f}", "", ""])
    return rows


def _times(document: Document) -> Rows:
    tails = _p90(document)
    return [
        [
            row["group"],
            row["engine"],
            _ms(row["median"]),
            _ms(tails.get((row["group"], row["engine"]))),
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
        ]
        for row in ratios(document)
    ]


def _p90(document: Document) -> dict[tuple[str, str], float]:
    """90th percentiles by group and engine."""
    return {
        (b["group"], b["extra_info"]["engine"]): b["extra_info"]["p90"]
        for b in document["benchmarks"]
        if "p90" in b["extra_info"]
    }


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.3g}"


def _markdown_table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _html_table(title: str, note: str, head: Sequence[str], rows: Rows) -> str:
    header = "".join(f"<th>{_escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    text = f"<p>{_escape(note)}</p>" if note else ""
    return (
        f"<section><h2>{_escape(title)}</h2>{text}<div class='wide'><table><thead><tr>{header}"
        f"</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _cells(row: Iterable[str]) -> str:
    marks = {"met": " class='met'", "missed": " class='missed'"}
    return "".join(f"<td{marks.get(cell, '')}>{_escape(cell)}</td>" for cell in row)


def _escape(text: str) -> str:
    return html.escape(text)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mobileface benchmarks</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #24292f; background: #f6f8fa; margin: 0; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }}
section {{ background: #fff; border: 1px solid #d0d7de; border-radius: 8px; padding: 8px 20px 16px;
  margin: 20px 0; }}
h1 {{ margin: 16px 0 8px; }}
h2 {{ font-size: 1.15em; margin: 12px 0 8px; }}
p {{ max-width: 80ch; }}
svg {{ width: 100%; height: auto; font-family: system-ui, sans-serif; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 14px; }}
th, td {{ text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid #eaeef2;
  font-variant-numeric: tabular-nums; white-space: nowrap; }}
td:last-child {{ white-space: normal; }}
.met {{ color: #0b6e4f; font-weight: 600; }}
.missed {{ color: #b42318; font-weight: 600; }}
</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

if __name__ == "__main__":
    main()
