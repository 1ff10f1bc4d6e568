// Fetches ./snapshot.json every two seconds and draws it. The worker computes all figures; this page keeps ten minutes of them.

const POLL_MS = 2000;
const PATIENCE_MS = 5000;
const KEPT_SECONDS = 600;
const LEAST_DECISIONS = 500;
const SPANS = [60, 120, 300, 600];
const DOORS = [["tagged", "tagged"], ["review", "to a person"], ["dlq", "dead letters"]];
const QUANTILES = [["p50", "p50"], ["p99", "p99"]];

const URGENCY = { page: "now", ticket: "soon", info: "note" };
const ABSENT = {
  name: "WorkerAbsent", tier: "page", what: "The worker of this page does not answer.", next: "check whether it still runs, then run tagstream doctor.",
};

const points = [];
let latest = null;
let answeredAt = null;
let paused = false;
let asking = false;
let absent = false;
let said = "";

function alarms(judged) {
  const found = [...(absent ? [ABSENT] : []), ...(latest?.alarms ?? [])];
  const learned = latest?.figures.detectors.learned ?? 1;
  const learning = learned < 1 ? `Learning what is ordinary in this stream (${Math.floor(learned * 100)} %); until then drift is no alarm.` : "";
  const told = found.map((one) => one.name + one.what).join() + judged + learning;
  // Replaced only when it has changed: a screen reader must not read the same alarms every two seconds.
  if (told === said) return;
  said = told;
  // A next step that several alarms share is shown once.
  const rows = found.map((one) => html("li", { class: `alarm ${one.tier}` },
    html("b", {}, `${URGENCY[one.tier]} · ${one.name}`),
    html("span", {}, one.also?.length ? `${one.what} Also: ${one.also.join(", ")}.` : one.what)));
  const steps = [...new Set(found.map((one) => one.next))].map((step) => html("li", { class: "next" }, `Next: ${step}`));
  const quiet = html("li", { class: "fine" }, judged ? "None." : `None. Drift is judged from ${LEAST_DECISIONS} decisions on.`);
  const notes = learning ? [html("li", { class: "fine" }, learning)] : [];
  $("alarms").replaceChildren(...notes, ...(rows.length ? [...rows, ...steps] : [quiet]));
}

/** A quantile of the latency. In the wide buckets above 60 s only a lower bound is known. */
const latency = (flow, name) => (flow[`${name}_more`] ? "> " : "") + seconds(flow[`${name}_seconds`]);

function draw() {
  if (latest === null) return;
  const { figures } = latest;
  const { flow, position, window: judged, totals, detectors } = figures;
  $("model").textContent = figures.models.map((one) => `${one.name} ${one.version} · ${one.digest.slice(0, 12)}`).join(", ") || "no model yet";
  const rates = DOORS.map(([name]) => flow[name]).filter(known);
  $("tile-rate").textContent = rate(rates.length ? rates.reduce((a, b) => a + b) : null);
  $("tile-p50").textContent = latency(flow, "p50");
  $("tile-p99").textContent = latency(flow, "p99");
  $("tile-confidence").textContent = text(figures.confidence.mean, (v) => v.toFixed(3));
  $("tile-review").textContent = share(figures.shares.find((one) => one.name === "review")?.value);
  $("tile-lag").textContent = known(position.lag) ? count(position.lag) : "unknown";
  lines("flow", DOORS, rate);
  lines("latency", QUANTILES, seconds, (name) => latency(flow, name));
  confidence(figures.confidence);
  labels(figures.labels);
  const since = judged.since_start ? "since the worker started" : `of the last ${span(judged.seconds)}`;
  const few = judged.decisions < LEAST_DECISIONS ? `; fewer than ${LEAST_DECISIONS} are not judged` : "";
  $("window").textContent = `Distance from the reference, ${count(judged.decisions)} decisions ${since}${few}.`;
  measures("distances", figures.distances, score, true);
  measures("shares", figures.shares, share, false);
  const changes = Object.entries(detectors.changes).filter(([, times]) => times).map(([signal, times]) => `${title(signal)} ${times}`);
  const looked = known(detectors.compared_seconds_ago) ? `Words, tags and sources were last compared ${span(detectors.compared_seconds_ago)} ago. ` : "";
  $("detectors").textContent = looked + (changes.length ? `Sudden changes in this span: ${changes.join(", ")}.` : "No sudden change in this span.");
  const dead = Object.entries(figures.dead_letters).sort((a, b) => b[1] - a[1]);
  $("dead").textContent = dead.length ? `Dead letters: ${dead.map(([reason, times]) => `${title(reason)} ${times}`).join(", ")}.` : "";
  $("totals").textContent = `Since the start: ${count(totals.received)} received, ${count(totals.tagged)} tagged, ` +
    `${count(totals.review)} to a person, ${count(totals.dlq)} dead letters. ` +
    `${count(position.partitions)} partitions, ${count(position.inflight)} in progress.`;
  alarms(judged.decisions >= LEAST_DECISIONS);
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
  // A reason that is no fault has no alarm, so it stands in the notice.
  const passing = figures.troubles.find((one) => one.no_fault);
  if (!found.ready) state("unready", "Not ready", passing ? `Not ready, which is no alarm: ${passing.why}.` : "");
  else if (!figures.totals.received) state("ready", "Ready", "No event has come yet. Next: tagstream send FILE, or wait for your producers.");
  else state("ready", "Ready", "");
  draw();
}

function lost() {
  const since = answeredAt === null ? "" : ` ${span((Date.now() - answeredAt) / 1000)} ago`;
  state("lost", `Connection lost${since}`,
    answeredAt === null ? "The page keeps trying." : "The figures are from the last answer. The page keeps trying.");
  absent = true;
  alarms(true);
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
