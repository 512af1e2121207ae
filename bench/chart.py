#!/usr/bin/env python3
"""Draws the ratios that peers.py found as horizontal bars on a logarithmic scale, one panel per peer, in SVG.

Usage: chart.py RESULTS.json CHART.svg
"""
import html
import json
import math
import pathlib
import sys

ROW, LABELS, PLOT, FIGURES, MARGIN, TITLE = 16, 270, 380, 60, 20, 34
FASTER, SLOWER, GRID, TEXT = "#2f7d4f", "#b5533c", "#d0d0d0", "#202020"
WIDTH = MARGIN + LABELS + PLOT + FIGURES + MARGIN
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class Scale:
    """From ratios to positions: symmetric around nothing, wide enough for all and for 1."""

    def __init__(self, values):
        self.low = math.log(min([0.5, *values])) - 0.05
        self.high = math.log(max([2, *values])) + 0.05

    def __call__(self, value):
        return MARGIN + LABELS + PLOT * (math.log(value) - self.low) / (self.high - self.low)

    def ticks(self):
        return [tick for tick in TICKS if self.low <= math.log(tick) <= self.high]


def text(x, y, words, anchor="start", size=11, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
            f'fill="{TEXT}">{html.escape(words)}</text>')


def bar(result, scale, y):
    start, end = sorted((scale(1), scale(result["ratio"])))
    colour = FASTER if result["ratio"] >= 1 else SLOWER
    best = scale(result["ratio_best"])
    return [text(MARGIN + LABELS - 8, y + 11, result["case"], "end"),
            f'<rect x="{start:.1f}" y="{y + 2}" width="{max(end - start, 1):.1f}" height="{ROW - 4}" fill="{colour}"/>',
            f'<line x1="{best:.1f}" x2="{best:.1f}" y1="{y + 1}" y2="{y + ROW - 1}" stroke="{TEXT}"/>',
            text(WIDTH - MARGIN, y + 11, f"{result['ratio']:.2f}", "end")]


def panel(peer, version, results, scale, top):
    bottom = top + TITLE + ROW * len(results)
    parts = [text(MARGIN, top + 20, f"{peer} {version}", size=13, weight="bold")]
    for tick in scale.ticks():
        x = scale(tick)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + TITLE}" y2="{bottom}" '
                     f'stroke="{TEXT if tick == 1 else GRID}"/>')
        parts.append(text(x, top + TITLE - 4, f"{tick:g}", "middle", 10))
    for index, result in enumerate(results):
        parts += bar(result, scale, top + TITLE + ROW * index)
    return parts, bottom


def ratios(record):
    """The chart of a record as peers.py writes it."""
    results = record["results"]
    scale = Scale([result[key] for result in results for key in ("ratio", "ratio_best")])
    parts, y = [text(MARGIN, 24, "clgrad and its peers: their time / ours; right of 1 clgrad is faster", size=15,
                     weight="bold"),
                text(MARGIN, 42, f"{record['cpu']}, {record['cores']} cores, {record['date']}; bars are medians, "
                                 "strokes the best against the best")], 56
    for peer in dict.fromkeys(result["peer"] for result in results):
        drawn, y = panel(peer, " ".join(record["versions"].get(peer, "").split()[:2]),
                         [result for result in results if result["peer"] == peer], scale, y)
        parts += drawn
        y += 14
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            f'font-family="sans-serif">\n<rect width="{WIDTH}" height="{y}" fill="white"/>\n' + "\n".join(parts)
            + "\n</svg>\n")


def main(source, target):
    record = json.loads(pathlib.Path(source).read_text(encoding="utf-8"))
    pathlib.Path(target).write_text(ratios(record), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
