"""The board as a page without Grafana: each panel drawn from what Prometheus answered, where the board places it. It is no
copy of Grafana's looks: it is to see whether the board reads well."""

import html
import math
import re

UNIT_WIDTH, UNIT_HEIGHT, GAP = 66, 36, 8
NAMED = {
    "green": "#73bf69",
    "yellow": "#f2cc0c",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "dark-red": "#c4162a",
    "dark-orange": "#fa6400",
    "transparent": "none",
    "text": "#ccccdc",
}
PALETTE = [
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
    "#447ebc",
    "#c15c17",
]
STYLE = """
body { background: #111217; color: #ccccdc; font: 12px Inter, "DejaVu Sans", sans-serif; margin: 0; }
.board { position: relative; }
.panel { position: absolute; background: #181b1f; border: 1px solid #2c2f36; border-radius: 2px; overflow: hidden; }
.panel h2 { font-size: 12.5px; font-weight: 500; margin: 6px 8px 2px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.row { position: absolute; font-size: 15px; font-weight: 600; line-height: 36px; padding-left: 4px; }
.row small { font-weight: 400; color: #8e8e99; }
.legend { position: absolute; bottom: 4px; left: 8px; right: 8px; font-size: 11px; line-height: 15px; max-height: 62px; overflow: hidden; }
.legend.right { left: auto; top: 30px; width: 318px; max-height: none; }
.legend b { float: right; font-weight: 400; color: #9fa7b3; }
.legend div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.legend i { display: inline-block; width: 12px; height: 4px; margin-right: 6px; vertical-align: middle; }
.legend span { margin-right: 12px; white-space: nowrap; }
.stat { position: absolute; inset: 0; }
.stat strong { position: absolute; left: 10px; right: 10px; top: 40%; font-size: 34px; font-weight: 600; line-height: 40px; text-align: center; }
.stat h2, .stat strong { color: #fff; text-shadow: 0 0 3px #0008; }
.stat svg { position: absolute; bottom: 0; left: 0; opacity: .45; }
.values { padding: 8px 14px; font-size: 17px; line-height: 27px; }
.values b { float: right; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
td, th { text-align: left; padding: 6px 10px; border-bottom: 1px solid #2c2f36; }
th { color: #6e9fff; font-weight: 500; }
.empty { color: #8e8e99; text-align: center; padding-top: 30px; }
text { fill: #9fa7b3; font-size: 10.5px; font-family: inherit; }
"""


def colour(name):
    return NAMED.get(name, name)


def number(value, unit, decimals=None):
    """As Grafana would write it."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else decimals}f} %"
    if unit == "currencyUSD":
        return f"${value:.{2 if decimals is None else decimals}f}"
    if unit == "s":
        return scaled(value, [(1, "s"), (1e-3, "ms"), (1e-6, "µs")])
    if unit == "bytes":
        return scaled(value, [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")])
    tail = {"reqps": " req/s", "cps": " c/s"}.get(
        unit, unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
    )
    return (f"{value:.{decimals}f}" if decimals is not None else short(value)) + tail


def scaled(value, steps):
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    return f"{short(value / size)} {name}"


def short(value):
    if abs(value) >= 10_000:
        return f"{value / 1000:.1f} K"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def legend_of(target, labels):
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), target["legendFormat"])


def series_of(panel, answers):
    """(name, [(time, value)], what the overrides say of it), as the legend has them."""
    for target, answer in zip(panel["targets"], answers):
        for found in answer["data"]["result"]:
            points = found.get("values") or [found["value"]]
            name = legend_of(target, found["metric"])
            yield name, [(float(at), float(value)) for at, value in points], overridden(panel, name)


def overridden(panel, name):
    said = {}
    for override in panel["fieldConfig"]["overrides"]:
        how, what = override["matcher"]["id"], override["matcher"]["options"]
        if name == what if how == "byName" else re.fullmatch(what, name):
            said.update({entry["id"]: entry["value"] for entry in override["properties"]})
    return said


def threshold(panel, value):
    found = None
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return colour(found)


def mapped(panel, value):
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        said = mapping["options"].get(f"{value:g}")
        if said:
            return said["text"], colour(said["color"])
    return None


def colours(panel, series):
    free = iter(PALETTE * 9)
    return [colour(said["color"]["fixedColor"]) if "color" in said else next(free) for _, _, said in series]


def page(board, answers, span, title):
    parts = [piece(panel, answers.get(panel["id"], []), span) for panel in board["panels"]]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * UNIT_HEIGHT + GAP
    width = 24 * UNIT_WIDTH + GAP
    text = f"""<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>
<div class="board" style="width:{width}px;height:{height}px">{"".join(parts)}</div>"""
    return text, width, height


def piece(panel, answers, span):
    at = panel["gridPos"]
    left, top = at["x"] * UNIT_WIDTH + GAP, at["y"] * UNIT_HEIGHT + GAP
    width, height = at["w"] * UNIT_WIDTH - GAP, at["h"] * UNIT_HEIGHT - GAP
    place = f'style="left:{left}px;top:{top}px;width:{width}px;height:{height}px"'
    if panel["type"] == "row":
        return f'<div class="row" {place}>⌄ {html.escape(panel["title"])}</div>'
    drawn = KINDS[panel["type"]](panel, answers, span, width, height)
    hint = html.escape(panel["description"], quote=True)
    return f'<div class="panel" {place} title="{hint}"><h2>{html.escape(panel["title"])}</h2>{drawn}</div>'


def stat(panel, answers, span, width, height):
    defaults = panel["fieldConfig"]["defaults"]
    series = list(series_of(panel, answers))
    if not series:
        return f'<div class="stat"><h2>{html.escape(panel["title"])}</h2><strong>{html.escape(defaults["noValue"])}</strong></div>'
    shown = []
    for name, points, _ in series:
        value = next((value for _, value in reversed(points) if not math.isnan(value)), math.nan)
        text, fill = mapped(panel, value) or (
            number(value, defaults["unit"], defaults.get("decimals")),
            threshold(panel, value),
        )
        shown.append((name, text, fill))
    if len(shown) > 1 or panel["options"]["colorMode"] == "value":
        lines = "".join(
            f'<div style="color:{fill}">{html.escape(name)}<b>{html.escape(text)}</b></div>'
            for name, text, fill in shown
        )
        return f'<div class="values">{lines}</div>'
    _, text, fill = shown[0]
    spark = ""
    if panel["options"]["graphMode"] == "area":
        most = max((value for _, value in series[0][1] if not math.isnan(value)), default=0) or 1
        box = (0, 0, width, height * 0.45)
        spark = f'<svg width="{width}" height="{box[3]}">{area(series[0][1], span, 0, most * 1.05, box, "#fff", 0.35)}</svg>'
    return f'<div class="stat" style="background:{fill}"><h2>{html.escape(panel["title"])}</h2>{spark}<strong>{html.escape(text)}</strong></div>'


def xy(at, value, span, low, high, box):
    left, top, width, height = box
    x = left + (at - span[0]) / (span[1] - span[0]) * width
    return x, top + height - (value - low) / (high - low) * height


def area(points, span, low, high, box, fill, opacity):
    line = [xy(at, value, span, low, high, box) for at, value in points if not math.isnan(value)]
    if not line:
        return ""
    floor = box[1] + box[3]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
    return f'<polygon points="{line[0][0]:.1f},{floor} {path} {line[-1][0]:.1f},{floor}" fill="{fill}" fill-opacity="{opacity}"/>'


def legend(panel, series, tints):
    options, defaults = panel["options"]["legend"], panel["fieldConfig"]["defaults"]
    lines = []
    pairs = list(zip(series, tints))
    if options.get("sortBy") == "Max":
        pairs.sort(key=lambda pair: -max((value for _, value in pair[0][1] if not math.isnan(value)), default=-1))
    for (name, points, _), tint in pairs:
        good = [value for _, value in points if not math.isnan(value)]
        said = {"lastNotNull": good[-1] if good else math.nan, "max": max(good, default=math.nan)}
        sums = " ".join(f"{number(said[calc], defaults['unit']):>12}" for calc in options["calcs"])
        tag, tail = ("div", f"<b>{html.escape(sums)}</b>") if options["displayMode"] == "table" else ("span", "")
        lines.append(f'<{tag}>{tail}<i style="background:{tint}"></i>{html.escape(name)}</{tag}>')
    # As in Grafana a long legend scrolls.
    room = 15 if options["placement"] == "right" else 4 if options["displayMode"] == "table" else 12
    more = [f"<div>… {len(lines) - room + 1} more</div>"] if len(lines) > room else []
    return lines[: room - len(more)] + more


def frame(panel, low, high, span, box):
    defaults = panel["fieldConfig"]["defaults"]
    is_log = defaults["custom"].get("scaleDistribution", {}).get("type") == "log"
    marks = []
    for step in range(5):
        value = low + (high - low) * step / 4
        _, y = xy(span[0], value, span, low, high, box)
        text = number(10**value if is_log else value, defaults["unit"])
        marks.append(f'<line x1="{box[0]}" x2="{box[0] + box[2]}" y1="{y:.1f}" y2="{y:.1f}" stroke="#2c2f36"/>')
        marks.append(f'<text x="{box[0] - 5}" y="{y + 3:.1f}" text-anchor="end">{html.escape(text)}</text>')
    for step in range(4):
        x = box[0] + box[2] * step / 3
        seconds = f"{(span[1] - span[0]) * step / 3:.0f} s"
        marks.append(f'<text x="{x:.1f}" y="{box[1] + box[3] + 14:.1f}" text-anchor="middle">{seconds}</text>')
    return "".join(marks)


def stacked(series):
    """Each series on top of those before it."""
    sums, out = {}, []
    for name, points, said in series:
        below = [(at, sums.get(at, 0.0)) for at, _ in points]
        for at, value in points:
            sums[at] = sums.get(at, 0.0) + (0 if math.isnan(value) else value)
        out.append((name, below, [(at, sums[at]) for at, _ in points], said))
    return out


def timeseries(panel, answers, span, width, height):
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    series = list(series_of(panel, answers))
    if not any(not math.isnan(value) for _, points, _ in series for _, value in points):
        return f'<div class="empty">{html.escape(defaults["noValue"])}</div>'
    tints = colours(panel, series)
    lines = legend(panel, series, tints)
    options = panel["options"]["legend"]
    is_right = options["placement"] == "right"
    beside = 330 if is_right else 0
    is_table = options["displayMode"] == "table"
    rows = (
        0 if is_right else len(lines) if is_table else 1 + sum(len(name) * 6.5 + 40 for name, _, _ in series) // width
    )
    below_it = 15 * min(rows, 4)
    box = (62, 6, width - 74 - beside, height - 54 - below_it)
    is_log = custom.get("scaleDistribution", {}).get("type") == "log"
    if is_log:
        series = [
            (name, [(at, math.log10(value)) for at, value in points if value > 0], said)
            for name, points, said in series
        ]
    is_stack = custom["stacking"]["mode"] == "normal"
    tops = stacked(series) if is_stack else [(name, None, points, said) for name, points, said in series]
    values = [value for _, _, points, _ in tops for _, value in points if not math.isnan(value)]
    low = min(values) if is_log else 0
    high = defaults.get("max") or max(max(values) * (1 if is_log else 1.08), custom.get("axisSoftMax", -math.inf)) or 1
    high = high if high > low else low + 1
    body = [frame(panel, low, high, span, box)]
    for (name, below, points, said), tint in reversed(list(zip(tops, tints))):
        body.append(
            bars(points, below, span, low, high, box, tint)
            if custom["drawStyle"] == "bars"
            else line(points, below, span, low, high, box, tint, custom, said)
        )
    drawing = f'<svg width="{width - beside}" height="{height - 28 - below_it}">{"".join(body)}</svg>'
    return f'{drawing}<div class="legend{" right" if is_right else ""}">{"".join(lines)}</div>'


def bars(points, below, span, low, high, box, tint):
    wide = max(2.0, box[2] / (span[1] - span[0]) * 0.7)
    out = []
    for index, (at, value) in enumerate(points):
        if math.isnan(value):
            continue
        x, top = xy(at, value, span, low, high, box)
        _, floor = xy(at, below[index][1] if below else low, span, low, high, box)
        out.append(
            f'<rect x="{x - wide / 2:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{max(0, floor - top):.1f}" fill="{tint}" fill-opacity=".85"/>'
        )
    return "".join(out)


def line(points, below, span, low, high, box, tint, custom, said):
    upper = [xy(at, value, span, low, high, box) for at, value in points if not math.isnan(value)]
    if not upper:
        return ""
    dash = ' stroke-dasharray="6 4"' if "custom.lineStyle" in said else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in upper)
    out = f'<polyline points="{path}" fill="none" stroke="{tint}" stroke-width="{custom["lineWidth"]}"{dash}/>'
    if below:
        lower = [xy(at, value, span, low, high, box) for at, value in reversed(below)]
        shape = path + " " + " ".join(f"{x:.1f},{y:.1f}" for x, y in lower)
        out = f'<polygon points="{shape}" fill="{tint}" fill-opacity="{custom["fillOpacity"] / 100}"/>' + out
    elif said.get("custom.fillOpacity", custom["fillOpacity"]):
        out = (
            area(
                [point for point in points if not math.isnan(point[1])],
                span,
                low,
                high,
                box,
                tint,
                custom["fillOpacity"] / 100,
            )
            + out
        )
    return out


def heatmap(panel, answers, span, width, height):
    rows = sorted(
        (
            (float(found["metric"]["le"].replace("+Inf", "inf")), dict(found["values"]))
            for found in answers[0]["data"]["result"]
        ),
        key=lambda row: row[0],
    )
    times = sorted({at for _, values in rows for at in values})
    cells = [
        [max(0.0, float(values.get(at, 0)) - (float(rows[index - 1][1].get(at, 0)) if index else 0)) for at in times]
        for index, (_, values) in enumerate(rows)
    ]
    used = [index for index, row in enumerate(cells) if any(row)]
    if not used:
        return '<div class="empty">nothing yet</div>'
    first, last = max(0, used[0] - 1), min(len(rows) - 1, used[-1] + 1)
    most = max(map(max, cells))
    box = (62, 6, width - 74, height - 60)
    tall, wide = box[3] / (last - first + 1), box[2] / len(times)
    out = []
    for index in range(first, last + 1):
        y = box[1] + (last - index) * tall
        out.append(f'<text x="57" y="{y + 4:.1f}" text-anchor="end">{html.escape(number(rows[index][0], "s"))}</text>')
        for column, value in enumerate(cells[index]):
            if value > 1e-9:
                shade = 0.12 + 0.88 * (value / most) ** 0.5
                out.append(
                    f'<rect x="{box[0] + column * wide:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" height="{tall - 1:.1f}" fill="#ff9830" fill-opacity="{shade:.2f}"/>'
                )
    return f'<svg width="{width}" height="{height - 40}">{"".join(out)}</svg>'


def state_timeline(panel, answers, span, width, height):
    series = sorted(series_of(panel, answers), key=lambda one: one[0])
    if not series:
        return f'<div class="empty">{html.escape(panel["fieldConfig"]["defaults"]["noValue"])}</div>'
    longest = max(len(name) for name, _, _ in series)
    left = min(longest * 6.2 + 14, width * 0.45)
    tall = (height - 42) / len(series)
    out = []
    for index, (name, points, _) in enumerate(series):
        y = 4 + index * tall
        out.append(f'<text x="{left - 6}" y="{y + tall / 2 + 4:.1f}" text-anchor="end">{html.escape(name)}</text>')
        for at, value in points:
            x = left + (at - span[0]) / (span[1] - span[0]) * (width - left - 12)
            wide = (width - left - 12) / (span[1] - span[0]) + 0.6
            fill = (mapped(panel, value) or ("", threshold(panel, value)))[1]
            out.append(
                f'<rect x="{x:.1f}" y="{y + tall * 0.08:.1f}" width="{wide:.1f}" height="{tall * 0.84:.1f}" fill="{fill}"/>'
            )
    return f'<svg width="{width}" height="{height - 32}">{"".join(out)}</svg>'


def table(panel, answers, span, width, height):
    """Joined by the one label that its targets share."""
    rename = panel["transformations"][-1]["options"]["renameByName"]
    by = panel["transformations"][0]["options"]["byField"]
    names = [rename[f"Value #{target['refId']}"] for target in panel["targets"]]
    lines = {}
    for name, answer in zip(names, answers):
        for found in answer["data"]["result"]:
            lines.setdefault(found["metric"][by], {})[name] = float(found["value"][1])
    head = "".join(f"<th>{html.escape(name)}</th>" for name in [by, *names])
    body = "".join(
        f"<tr><td>{html.escape(key)}</td>{''.join(cell(panel, name, values.get(name, 0.0)) for name in names)}</tr>"
        for key, values in sorted(lines.items())
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def cell(panel, name, value):
    said = {**panel["fieldConfig"]["defaults"], **overridden(panel, name)}
    return f"<td>{html.escape(number(value, said['unit'], said.get('decimals')))}</td>"


KINDS = {"stat": stat, "timeseries": timeseries, "heatmap": heatmap, "state-timeline": state_timeline, "table": table}
