"use strict";
// Figures as text, charts and tables. `page.js` follows in the same script and holds the state that these draw.

const $ = (id) => document.getElementById(id);

function fill(parent, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) parent.setAttribute(name, value);
  parent.append(...children.filter((child) => child !== null));
  return parent;
}
const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// ---- figures as text; a missing figure is a dash

const known = (value) => value !== null && value !== undefined;
const text = (value, write) => (known(value) ? write(value) : "–");
const rate = (value) => text(value, (v) => (v >= 10 ? v.toFixed(0) : v.toFixed(1)));
const share = (value) => text(value, (v) => `${(100 * v).toFixed(1)} %`);
const score = (value) => text(value, (v) => v.toFixed(2));
const count = (value) => text(value, (v) => v.toLocaleString("en"));
function seconds(value) {
  if (!known(value)) return "–";
  if (value < 1) return `${(1000 * value).toFixed(0)} ms`;
  return value < 10 ? `${value.toFixed(1)} s` : span(value);
}
function span(value) {
  if (value < 120) return `${value.toFixed(0)} s`;
  return value < 7200 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(0)} h`;
}
const title = (name) => name.replaceAll("_", " ");

// ---- charts

/** The least round number that is not below a value. */
function round(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/** Lines over time; `current` writes the last figure of a series. */
function lines(id, series, write, current = (name) => write(points.at(-1)?.[name])) {
  const place = $(id);
  const width = Math.max(240, place.clientWidth), height = 150, left = 52, bottom = 20, top = 8;
  const now = points.length ? points[points.length - 1].at : 0;
  const age = points.length ? now - points[0].at : 0;
  const shown = SPANS.find((one) => one >= age) ?? KEPT_SECONDS;
  const most = round(Math.max(0, ...points.flatMap((point) => series.map(([name]) => point[name] ?? 0))));
  const x = (at) => left + (width - left - 4) * (1 - (now - at) / shown);
  const y = (value) => top + (height - top - bottom) * (1 - value / most);
  const parts = [0, 0.5, 1].flatMap((part) => [
    svg("line", { class: part ? "rule" : "axis", x1: left, x2: width - 4, y1: y(part * most), y2: y(part * most) }),
    svg("text", { x: left - 8, y: y(part * most) + 4, "text-anchor": "end" }, part ? write(part * most) : "0"),
  ]);
  for (const [part, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
    const ago = shown * (1 - part);
    const name = ago ? `${span(ago)} ago` : "now";
    parts.push(svg("text", { x: x(now - ago), y: height - 4, "text-anchor": anchor }, name));
  }
  for (const [name] of series) parts.push(...traces(name, (point) => point[name], x, y));
  const said = series.map(([name, words]) => `${words} ${current(name)}`).join(", ");
  const legend = series.map(([name, words]) =>
    html("span", {},
      svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, svg("path", { class: `path ${name}`, d: "M1 5H25" })),
      `${words} ${current(name)}`));
  const label = `${title(id)} over the last ${span(shown)}; now: ${said}`;
  place.replaceChildren(
    svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, ...parts),
    html("figcaption", {}, ...legend));
}

/** One line, with a gap wherever there is no figure. */
function traces(name, read, x, y) {
  const runs = [[]];
  for (const point of points) {
    const value = read(point);
    if (known(value)) runs.at(-1).push([x(point.at), y(value)]);
    else if (runs.at(-1).length) runs.push([]);
  }
  return runs.filter((run) => run.length).map((run) => {
    const [start] = run;
    const path = run.length > 1 ? run : [[start[0] - 1, start[1]], start];
    return svg("path", { class: `path ${name}`, d: `M${path.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")}` });
  });
}

function confidence(found, asked) {
  const place = $("confidence");
  const bars = found.bars;
  if (!bars.length) return place.replaceChildren(html("p", { class: "quiet" }, "No decision yet."));
  const width = Math.max(240, place.clientWidth), height = 180, left = 52, bottom = 22, top = 12;
  const most = Math.min(1, round(Math.max(0.1, ...bars.flatMap((bar) => [bar.share ?? 0, bar.reference ?? 0]))));
  const step = (width - left - 14) / bars.length;
  const y = (value) => top + (height - top - bottom) * (1 - value / most);
  const parts = [0, 0.5, 1].flatMap((part) => [
    svg("line", { class: part ? "rule" : "axis", x1: left, x2: width - 4, y1: y(part * most), y2: y(part * most) }),
    svg("text", { x: left - 8, y: y(part * most) + 4, "text-anchor": "end" }, part ? `${(100 * part * most).toFixed(0)} %` : "0"),
  ]);
  const every = step < 30 ? 2 : 1;
  bars.forEach((bar, at) => {
    const from = left + at * step;
    if (known(bar.share)) {
      parts.push(svg("rect", {
        class: "live", x: from + 2, width: Math.max(1, step - 4), y: y(bar.share), height: Math.max(0, y(0) - y(bar.share)), rx: 2,
      }));
    }
    if (known(bar.reference)) {
      parts.push(svg("line", { class: "reference", x1: from, x2: from + step, y1: y(bar.reference), y2: y(bar.reference) }));
    }
    if ((bars.length - 1 - at) % every === 0) {
      parts.push(svg("text", { x: from + step, y: height - 5, "text-anchor": "middle" }, String(bar.high)));
    }
  });
  const thresholds = [...new Set(Object.values(found.thresholds).filter((one) => one <= 1))].sort((one, other) => one - other);
  const lines = thresholds.flatMap((one) => {
    const at = bars.findIndex((bar) => one <= bar.high);
    return at < 0 ? [] : [left + step * (at + Math.max(0, (one - bars[at].low) / (bars[at].high - bars[at].low)))];
  });
  parts.push(...lines.map((from) => svg("line", { class: "threshold", x1: from, x2: from, y1: 6, y2: y(0) })));
  const label = `Share of decisions by confidence; mean ${score(found.mean)}. ` +
    bars.map((bar) => `up to ${bar.high}: ${share(bar.share)}, reference ${share(bar.reference)}`).join("; ");
  const key = (shape, words) => html("span", {}, svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, shape), words);
  place.replaceChildren(
    svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, ...parts),
    html("figcaption", {},
      // Below the chart, where a long text wraps.
      key(svg("line", { class: "threshold", x1: 1, x2: 25, y1: 5, y2: 5 }), asked),
      key(svg("rect", { class: "live", x: 3, width: 20, y: 0, height: 10, rx: 2 }), `now, mean ${text(found.mean, (v) => v.toFixed(3))}`),
      key(svg("line", { class: "reference", x1: 1, x2: 25, y1: 5, y2: 5 }), "reference")));
}

/** A bar with a mark, for one figure beside another. */
function bar(value, mark, most, label) {
  const part = (one) => `${Math.min(100, (100 * one) / most).toFixed(1)}%`;
  const inner = html("div", { class: "fill" });
  inner.style.width = part(value ?? 0);
  const track = html("div", { class: "track", role: "img", "aria-label": label }, inner);
  if (known(mark)) {
    const line = html("div", { class: "mark" });
    line.style.left = part(mark);
    track.append(line);
  }
  return track;
}

function table(heads, rows) {
  const cells = heads.map(([words, kind]) => html("th", { scope: "col", class: kind }, words));
  return html("table", {}, html("thead", {}, html("tr", {}, ...cells)), html("tbody", {}, ...rows));
}
const cell = (kind, ...children) => html("td", { class: kind }, ...children);
const head = (words) => html("th", { scope: "row" }, words);

let everyTag = false;

/** All tags, or the ones that `screen` chose of many. */
function labels(all, chosen) {
  if (!all.length) return $("labels").replaceChildren(html("p", { class: "quiet" }, "No decision yet."));
  const found = everyTag ? all : chosen;
  $("every").hidden = all.length === chosen.length;
  $("every").textContent = everyTag ? `Show the ${chosen.length - 1} most frequent` : `Show all ${all.length} tags`;
  const most = Math.max(0.1, ...found.flatMap((one) => [one.share ?? 0, one.reference ?? 0]));
  $("labels").replaceChildren(table(
    [["tag", ""], ["mark: reference", "wide"], ["now", "number"], ["reference", "number"], ["PSI", "number spare"], ["confidence", "number spare"]],
    found.map((one) => html("tr", {},
      head(one.label),
      cell("wide", bar(one.share, one.reference, most, `${one.label}: ${share(one.share)}, reference ${share(one.reference)}`)),
      cell("number", share(one.share)), cell("number", share(one.reference)), cell("number spare", score(one.psi_term)), cell("number spare", score(one.confidence))))));
}

function spark(name, limit) {
  const shown = points.filter((point) => known(point.distances[name]));
  if (shown.length < 2) return null;
  const now = points.at(-1).at, width = 120, height = 26;
  const most = Math.max(limit * 1.5, ...shown.map((point) => point.distances[name]));
  const age = Math.max(60, now - points[0].at);
  const x = (at) => width * (1 - (now - at) / age);
  const y = (value) => 2 + (height - 4) * (1 - value / most);
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { class: "threshold", x1: 0, x2: width, y1: y(limit), y2: y(limit), "vector-effect": "non-scaling-stroke" }),
    ...traces("score", (point) => point.distances[name], x, y));
}

function measures(id, found, write, sparks) {
  const heads = [["", ""], ["mark: limit", "wide"], ["now", "number"], ["limit", "number"]];
  heads.push(sparks ? ["last minutes", "sparked"] : ["reference", "number spare"]);
  $(id).replaceChildren(table(heads, found.map((one) => {
    const limited = known(one.limit);
    const { over } = one;
    const label = `${one.title}: ${write(one.value)}${limited ? `, limit ${write(one.limit)}` : ""}${over ? ", over it" : ""}`;
    const most = limited ? 2 * one.limit : Math.max(0.01, 2 * (one.reference ?? 0), one.value ?? 0);
    return html("tr", { class: over ? "over" : "" },
      head(one.title), cell("wide", bar(one.value, one.limit, most, label)), cell("number value", write(one.value)),
      cell("number", write(one.limit)),
      sparks ? cell("sparked", spark(one.name, one.limit) ?? "") : cell("number spare", write(one.reference)));
  })));
}
