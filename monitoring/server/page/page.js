// Fetches ./snapshot.json every two seconds and draws it. The process, a worker or `serve`, computes all figures and says them in `screen`, as in the terminal;
// this page keeps ten minutes of them.

const POLL_MS = 2000;
const PATIENCE_MS = 5000;
const KEPT_SECONDS = 600;
const SPANS = [60, 120, 300, 600];
const DESTINATIONS = [["tagged", "tagged"], ["review", "to a person"], ["dlq", "dead letters"]];
const QUANTILES = [["p50", "p50"], ["p99", "p99"]];

const ABSENT = {
  worker: { name: "WorkerAbsent", tier: "page", urgency: "now", what: "The worker of this page does not answer." },
  serve: { name: "no answer", tier: "page", urgency: "now", what: "The process of this page does not answer." },
};

const points = [];
let latest = null;
let answeredAt = null;
let paused = false;
let asking = false;
let absent = false;
let said = "";

function alarms() {
  const { alarms: judged, notes, steps, calm } = latest?.screen ?? { alarms: [], notes: [], steps: [], calm: "" };
  const found = [...(absent ? [ABSENT[latest?.of ?? "worker"]] : []), ...judged];
  const next = [...(absent ? ["check whether it still runs, then run tagstream doctor."] : []), ...steps];
  const told = JSON.stringify([notes, found, next, calm]);
  // Replaced only when it has changed: a screen reader must not read the same alarms every two seconds.
  if (told === said) return;
  said = told;
  const rows = found.map((one) => html("li", { class: `alarm ${one.tier}` },
    html("b", {}, `${one.urgency} · ${one.name}`), html("span", {}, one.what)));
  const quiet = notes.map((words) => html("li", { class: "quiet" }, words));
  $("alarms").replaceChildren(...quiet, ...(rows.length ? rows : [html("li", { class: "fine" }, calm)]), ...next.map((step) => html("li", { class: "next" }, `Next: ${step}`)));
}

/** A quantile of the latency. In the wide buckets above 60 s only a lower bound is known. */
const latency = (flow, name) => (flow[`${name}_more`] ? "> " : "") + seconds(flow[`${name}_seconds`]);

function numbers(place, found) {
  $(place).replaceChildren(...found.map((one) => html("div", {}, html("dt", {}, one.name), html("dd", {}, one.value))));
}

function draw() {
  if (latest === null) return;
  const { figures, screen } = latest;
  const { flow, position, totals } = figures;
  $("model").textContent = screen.models;
  numbers("numbers", screen.numbers);
  numbers("rollout-numbers", screen.rollout);
  $("rollout").hidden = !screen.rollout.length;
  lines("flow", DESTINATIONS, rate);
  lines("latency", QUANTILES, seconds, (name) => latency(flow, name));
  confidence(figures.confidence, screen.asked);
  labels(figures.labels, screen.tags);
  $("window").textContent = screen.judged;
  measures("distances", figures.distances, score, true);
  measures("shares", figures.shares, share, false);
  $("detectors").textContent = `Sudden changes: ${screen.changes.join(", ")}. Last comparison of words and tags: ${screen.compared}.`;
  $("dead").textContent = screen.dead_letters.length ? `Dead letters: ${screen.dead_letters.join(", ")}.` : "";
  $("totals").textContent = `Since the start: ${count(totals.received)} received, ${screen.totals.join(", ")}. ` +
    `${count(position.partitions)} partitions, ${count(position.inflight)} in progress.`;
  alarms();
}

function state(name, words, notice) {
  const pill = $("state");
  if (pill.textContent !== words) pill.textContent = words;
  pill.dataset.state = name;
  document.body.classList.toggle("lost", name === "lost");
  const place = $("notice");
  place.hidden = !notice;
  if (place.textContent !== notice) place.textContent = notice;
}

function answered(found) {
  latest = found;
  document.body.dataset.of = found.of;
  $("of").textContent = found.of === "serve" ? "tagstream serve" : "tagstream";
  absent = false;
  answeredAt = Date.now();
  const { figures } = found;
  const { flow } = figures;
  const last = points.at(-1);
  // The charts begin again when the worker was restarted, and when its clock was set back.
  if (last && (figures.totals.received < last.received || figures.at <= last.at)) points.length = 0;
  points.push({
    at: figures.at, received: figures.totals.received, tagged: flow.tagged, review: flow.review, dlq: flow.dlq,
    p50: flow.p50_seconds, p99: flow.p99_seconds,
    distances: Object.fromEntries(figures.distances.map((one) => [one.name, one.value])),
  });
  while (points[0].at < figures.at - KEPT_SECONDS) points.shift();
  $("main").setAttribute("aria-busy", "false");
  if (!found.ready) state("unready", "Not ready", "");
  else if (found.of === "worker" && !figures.totals.received) state("ready", "Ready", "No event has come yet. Next: tagstream send FILE, or wait for your producers.");
  else state("ready", "Ready", "");
  draw();
}

function lost() {
  const since = answeredAt === null ? "" : ` ${span((Date.now() - answeredAt) / 1000)} ago`;
  state("lost", `Connection lost${since}`,
    answeredAt === null ? "The page keeps trying." : "The figures are from the last answer. The page keeps trying.");
  absent = true;
  alarms();
}

async function ask() {
  if (paused || asking) return;
  asking = true;
  const impatience = new AbortController();
  const bound = setTimeout(() => impatience.abort(), PATIENCE_MS);
  let found = null;
  try {
    const response = await fetch("snapshot.json", { cache: "no-store", signal: impatience.signal });
    if (response.ok) found = await response.json();
  } catch {
    // No answer, a late one and a broken one are shown alike: the connection is lost.
  } finally {
    clearTimeout(bound);
    asking = false;
  }
  if (paused) return;
  if (found === null) lost();
  else answered(found);
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) state("paused", "Paused", "");
});
$("every").addEventListener("click", () => {
  everyTag = !everyTag;
  draw();
});
new ResizeObserver(draw).observe($("main"));
setInterval(ask, POLL_MS);
ask();
