// The operators' page: fetches GET /ops/status every few seconds, and shows it.
// The key is in a variable and nowhere else. Data reaches the page as text, never as HTML.
"use strict";

const PAUSE = 5000; // milliseconds between two looks
const PATIENCE = 4000; // that an answer may take
const LONGEST_PAUSE = 60000; // after looks that failed
const SHOWN_AT_FIRST = 10; // answers of each kind
const DONE_SHOWN = 20000; // milliseconds that the answer to an action is shown
const UNKNOWN = { redis: "not known: Redis cannot be asked", database: "not known: PostgreSQL cannot be asked" };

let key = "";
let timer = 0;
let failures = 0;
let shownAt = 0; // time of the last state
let looking = null; // ends the request under way
let told = ""; // which findings a screen reader has spoken
let quiet = 0; // timer after which the answer to an action goes away

const place = (id) => document.getElementById(id);

// Elements.

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(attribute, value);
    else if (value !== false && value !== null) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};

const drawn = (name, attributes, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
};

// Replace the content of a place, and leave the focus where it was. What is the same stays, so that
// a selected text remains selected.
const show = (id, ...children) => {
  const now = place(id);
  const next = now.cloneNode();
  next.append(...children);
  if (next.isEqualNode(now)) return;
  const held = now.contains(document.activeElement) && document.activeElement.id;
  now.replaceChildren(...next.childNodes);
  if (held) focusOn(held, now);
};

// Focus a control, or the heading above it if it is there no more.
const focusOn = (id, around) => {
  const heading = around.closest("section")?.querySelector("h2");
  const next = place(id) ?? heading;
  if (next === heading) heading?.setAttribute("tabindex", "-1");
  next?.focus({ preventScroll: true });
};

// A text that a screen reader speaks is replaced only if it is another one.
const say = (id, text) => {
  if (place(id).textContent !== text) place(id).textContent = text;
};

// Numbers and times.

const whole = new Intl.NumberFormat();
const rounded = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

const SPACE = "\u00a0"; // between a number and its unit: no line ends there

const number = (value) => (value === null ? "–" : whole.format(value));
const decimal = (value) => (value === null ? "–" : rounded.format(value));
const share = (value) => (value === null ? "no reads" : percent.format(value));
const milliseconds = (value) => {
  if (value === null) return "no requests";
  return value < 1000 ? `${rounded.format(value)}${SPACE}ms` : `${rounded.format(value / 1000)}${SPACE}s`;
};
const megabytes = (value) => `${rounded.format(value / 1048576)}${SPACE}MiB`;
const plural = (count, one, many) => `${whole.format(count)} ${count === 1 ? one : many}`;

const duration = (seconds) => {
  if (seconds === null) return "–";
  if (seconds < 120) return `${Math.round(seconds)}${SPACE}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}${SPACE}min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)}${SPACE}h`;
  return `${Math.round(seconds / 86400)}${SPACE}days`;
};

const moment = (text) => {
  if (text === null) return "never";
  const title = `${text.slice(0, 19).replace("T", " ")} UTC`;
  return element("time", { datetime: text, title }, clock(new Date(text)));
};

const clock = (at) => {
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? at.toLocaleTimeString() : at.toLocaleString();
};

// Tables: a column is [title, what to show of a row, class]. Roles are named, because some browsers
// forget them where rows are shown as cards.

const table = (caption, columns, rows, empty) => {
  const title = element("caption", {}, caption);
  if (!rows.length) return element("p", {}, element("strong", {}, `${caption}: `), empty);
  const head = columns.map(([name, , kind]) => element("th", { scope: "col", role: "columnheader", class: kind !== "id" && (kind || false) }, name));
  const body = rows.map((row) => element("tr", { role: "row" }, ...columns.map((column, at) => cell(column, row, at))));
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      { role: "table" },
      title,
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
      element("tbody", { role: "rowgroup" }, ...body),
    ),
  );
};

const cell = ([name, find, kind], row, at) =>
  at === 0
    ? element("th", { scope: "row", role: "rowheader", class: kind || false }, find(row))
    : element("td", { role: "cell", "data-label": name, class: kind || false }, find(row));

const unknown = (caption, why) => element("p", {}, element("strong", {}, `${caption}: `), UNKNOWN[why]);

const tiles = (pairs) =>
  element(
    "dl",
    { class: "tiles" },
    ...pairs.map(([name, value, more]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value, more ? element("small", {}, more) : "")),
    ),
  );

// What is wrong, in words: [how bad, text, runbook].

const findings = (state) => [
  ...ofServers(state),
  ...ofCache(state),
  ...ofLimits(state),
  ...ofHosts(state),
  ...ofTasks(state),
];

const ofServers = ({ health, traffic }) => {
  const found = [];
  if (health.database === "unreachable")
    found.push(["bad", "PostgreSQL cannot be reached: only what the cache has is answered, and nothing is sold.", "database-unreachable"]);
  if (health.database === "read-only")
    found.push(["bad", "PostgreSQL takes no writes: reads are answered, and nothing is sold.", "database-unreachable"]);
  if (health.redis === "unreachable")
    found.push(["bad", "Redis cannot be reached: reads go to PostgreSQL, slower and right.", "redis-unreachable"]);
  if (health.redis === "foreign")
    found.push(["bad", "Redis belongs to another installation: reads go to PostgreSQL.", "redis-foreign"]);
  if (health.redis === "disabled") found.push(["warn", "Redis is switched off (REDIS_ENABLED=false).", null]);
  if (traffic.server_errors)
    found.push(["bad", `${plural(traffic.server_errors, "answer", "answers")} failed in the last minute.`, "server-errors"]);
  return found;
};

const ofCache = ({ cache }) => {
  const found = [];
  if (cache.breakers_open)
    found.push(["bad", `${plural(cache.breakers_open, "process does", "processes do")} not try Redis now.`, "redis-breaker-open"]);
  if (cache.outbox?.names)
    found.push(["warn", `${plural(cache.outbox.names, "name waits", "names wait")} in the outbox, for ${duration(cache.outbox.oldest_seconds)}: Redis cannot be told what to forget, so nothing is read from it.`, "outbox-not-emptying"]);
  for (const server of cache.servers || [])
    if (server.memory_max_bytes && server.memory_bytes > 0.9 * server.memory_max_bytes)
      found.push(["warn", `The memory of Redis at ${server.server} is nearly full.`, "redis-memory-high"]);
  return found;
};

const ofLimits = ({ limits }) => {
  const found = [];
  if (!limits.is_enabled) found.push(["warn", "There are no rate limits (RATE_LIMIT_ENABLED=false).", null]);
  else if (limits.mode === "shadow") found.push(["warn", `The limits refuse nobody${limits.mode_until ? ` until ${clock(new Date(limits.mode_until))}` : ""}: shadow mode.`, null]);
  if (limits.counted_alone)
    found.push(["warn", `${plural(limits.counted_alone, "worker counts", "workers count")} requests alone, each by its share of a quota.`, "limits-counted-alone"]);
  return found;
};

const ofHosts = ({ hosts }) => {
  const found = [];
  const there = hosts.filter((host) => host.seen_seconds_ago <= 30);
  for (const host of hosts) {
    if (host.seen_seconds_ago > 30 && host.seen_seconds_ago < 600) // one that left is gone for longer
      found.push(["warn", `${host.host} has not been heard of for ${duration(host.seen_seconds_ago)}.`, "service-down"]);
    else if (host.requests_waiting)
      found.push(["warn", `${plural(host.requests_waiting, "request waits", "requests wait")} for a thread at ${host.host}.`, "requests-waiting"]);
  }
  if (new Set(there.map((host) => host.version)).size > 1) found.push(["warn", "The hosts have different versions.", null]);
  return found;
};

const ofTasks = ({ tasks, as_of: now }) => {
  const found = [];
  if (tasks && !tasks.length)
    found.push(["warn", "No worker has ever run: unpaid orders keep their stock. Start flask worker.", "worker-task-not-running"]);
  const expiry = (tasks || []).find((task) => task.task === "expire_orders");
  if (expiry?.last_success === null)
    found.push(["bad", "expire_orders has only failed: unpaid orders keep their stock.", "worker-task-not-running"]);
  else if (expiry && secondsBetween(expiry.last_success, now) > 60)
    found.push(["bad", `No worker has looked for unpaid orders for ${duration(secondsBetween(expiry.last_success, now))}.`, "worker-task-not-running"]);
  return found;
};

// By the clock of the service: that of the reader may be wrong.
const secondsBetween = (then, now) => (new Date(now) - new Date(then)) / 1000;

const SIGNS = { bad: "✗", warn: "!", good: "✓" };

const finding = ([kind, text, runbook]) =>
  element(
    "p",
    { class: `finding ${kind}` },
    `${SIGNS[kind]} ${text}`,
    runbook ? element("small", {}, ` What to do: docs/runbooks/${runbook}.md`) : null,
  );

const showFindings = (found) => {
  const order = ["bad", "warn", "good"];
  const sorted = found.sort((one, other) => order.indexOf(one[0]) - order.indexOf(other[0]));
  // A screen reader speaks them if there are others, and not each time that a number in them grows.
  const kinds = sorted.map(([kind, , runbook]) => `${kind} ${runbook}`).join();
  place("findings").setAttribute("aria-live", kinds === told ? "off" : "polite");
  told = kinds;
  show("findings", ...sorted.map(finding));
  document.title = `${SIGNS[sorted[0][0]]} shop: operations`;
};

// The parts of the page.

const showTiles = ({ traffic, cache, limits, hosts, scope }) => {
  const reads = cache.families.reduce((sum, family) => sum + family.reads, 0);
  const hits = cache.families.reduce((sum, family) => sum + family.hits, 0);
  const rate = traffic.seconds ? traffic.requests / traffic.seconds : null;
  const workers = hosts.filter((host) => host.seen_seconds_ago <= 30).reduce((sum, host) => sum + host.workers, 0);
  show(
    "tiles",
    tiles([
      ["Requests a second", decimal(rate), "last minute"],
      ["Half answered within", milliseconds(traffic.p50_ms), "last minute"],
      ["95 % answered within", milliseconds(traffic.p95_ms), "last minute"],
      ["99 % answered within", milliseconds(traffic.p99_ms), "last minute"],
      ["Failed answers", number(traffic.server_errors), "last minute"],
      ["Refused by limits", number(traffic.refused), "last minute"],
      ["Clients now", limits.clients === null ? "not known" : number(limits.clients), limits.clients === null ? "Redis cannot be asked" : "counted by limits"],
      ["Hit rate", share(reads ? hits / reads : null), "last hour"],
      ["Names in the outbox", cache.outbox ? number(cache.outbox.names) : "not known", cache.outbox ? "Redis is yet to forget" : "PostgreSQL cannot be asked"],
      ["Workers", number(workers), scope === "service" ? `on ${plural(hosts.length, "host", "hosts")}` : "of this host alone"],
    ]),
  );
};

const MINUTES = 60;

// A chart is [caption, the value of a minute, how to write that, what part of it failed].
const CHARTS = [
  ["Requests a minute", (minute) => minute.requests, number, (minute) => minute.server_errors],
  ["95 % answered within", (minute) => minute.p95_ms, milliseconds],
  ["Hit rate of the cache", (minute) => (minute.reads ? minute.hits / minute.reads : null), share],
];

const showCharts = ({ minutes, as_of: now }) => {
  const failed = minutes.reduce((sum, minute) => sum + minute.server_errors, 0);
  const total = minutes.reduce((sum, minute) => sum + minute.requests, 0);
  show(
    "charts",
    ...CHARTS.map((one) => chart(minutes, new Date(now), ...one)),
    element("p", { class: "hint" }, `${plural(total, "request", "requests")} in the last hour, of which ${number(failed)} failed.`),
  );
};

const chart = (minutes, now, caption, find, write, findFailed = () => 0) => {
  const values = minutes.map(find).filter((value) => value !== null);
  const highest = Math.max(...values);
  const range = values.length ? `${write(Math.min(...values))} to ${write(highest)}, lately ${write(values.at(-1))}` : "none yet";
  const bars = minutes.flatMap((minute) => bar(minute, now, highest, [find(minute), findFailed(minute)], write));
  const axis = drawn("line", { x1: 0, x2: MINUTES, y1: 100, y2: 100, class: "axis", "vector-effect": "non-scaling-stroke" });
  return element(
    "figure",
    {},
    element("figcaption", {}, element("strong", {}, caption), ` ${range}`),
    drawn("svg", { viewBox: `0 0 ${MINUTES} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${caption}: ${range}` }, axis, ...bars),
    element("p", { class: "hint scale", "aria-hidden": "true" }, element("span", {}, "an hour ago"), element("span", {}, "now")),
  );
};

const bar = (minute, now, highest, [value, failed], write) => {
  const age = Math.floor(now / 60000) - Math.floor(new Date(minute.at) / 60000);
  if (value === null || !highest || age >= MINUTES) return [];
  const title = `${clock(new Date(minute.at))}: ${write(value)}, ${number(minute.server_errors)} of ${plural(minute.requests, "request", "requests")} failed`;
  const rectangle = (kind, part) => {
    const height = part && Math.max(2, (100 * part) / highest); // one is seen, too
    return drawn("rect", { class: kind, x: MINUTES - 1 - age + 0.1, width: 0.8, y: 100 - height, height }, drawn("title", {}, title));
  };
  return [rectangle("bar", value), rectangle("failed", failed)];
};

const showCache = ({ cache }) => {
  const about = cache.is_estimate ? "about " : "";
  const age = (family, seconds) => (family.entries === null ? "not known" : duration(seconds));
  const entries = (family) => (family.entries === null ? "not known" : about + number(family.entries));
  show(
    "families",
    table("Families", [
      ["Family", (family) => family.family],
      ["Hit rate", (family) => share(family.hit_rate), "number"],
      ["Reads", (family) => number(family.reads), "number"],
      ["Entries", entries, "number"],
      ["Half are older than", (family) => age(family, family.median_seconds), "number"],
      ["Oldest", (family) => age(family, family.oldest_seconds), "number"],
      ["Action", (family) => clearButton(family.family), "action"],
    ], cache.families, "none"),
    cache.servers ? "" : element("p", {}, "Entries and their ages are ", UNKNOWN.redis, "."),
    clearButton("all"),
  );
  show("servers", cache.servers ? servers(cache.servers) : unknown("Redis servers", "redis"));
};

const servers = (all) =>
  table("Redis servers", [
    ["Server", (server) => server.server, "id"],
    ["Memory", memory],
    ["Evicted keys", (server) => number(server.evicted_keys), "number"],
    ["Keys", (server) => number(server.keys), "number"],
    ["Connections", (server) => number(server.clients), "number"],
  ], all, "none");

const memory = (server) => {
  const used = megabytes(server.memory_bytes);
  if (!server.memory_max_bytes) return `${used}, without a bound`;
  const text = `${used} of ${megabytes(server.memory_max_bytes)} `;
  const filled = element("meter", { min: 0, max: 1, high: 0.9, value: server.memory_bytes / server.memory_max_bytes, "aria-label": text });
  return element("span", {}, text, filled);
};

const clearButton = (family) => {
  const what = family === "all" ? "the whole cache" : `the family ${family}`;
  const press = () => act(`Clear ${what}? The next read of each document goes to PostgreSQL.`, "Clear", "POST", "/ops/cache/clear", { family }, `Cleared ${what}.`);
  return element("button", { type: "button", id: `clear-${family}`, "aria-label": `Clear ${what}`, click: press }, family === "all" ? "Clear the whole cache" : "Clear");
};

const showLimits = ({ limits }) => {
  show("mode", mode(limits));
  show(
    "policies",
    table("Policies", [
      ["Policy", (policy) => policy.policy],
      ["Allowed", (policy) => number(policy.allowed), "number"],
      ["Refused", (policy) => number(policy.refused), "number"],
      ["Would have been refused", (policy) => number(policy.would_refuse), "number"],
    ], limits.policies, "none"),
  );
  show("near", limits.near ? clients("Who uses most of a quota", "near", limits.near) : unknown("Who uses most of a quota", "redis"));
  show("refused-clients", limits.refused ? clients("Who is refused most", "most", limits.refused) : unknown("Who is refused most", "redis"));
};

const SHADOW_TIMES = [["15 min", 900], ["1 h", 3600], ["8 h", 28800]];

const mode = (limits) => {
  if (!limits.is_enabled) return element("p", {}, "Limits are switched off.");
  const until = limits.mode_until ? element("span", {}, " until ", moment(limits.mode_until)) : "";
  const now = limits.mode === "shadow" ? "Shadow mode: requests are counted, and nobody is refused" : "Requests beyond a quota are refused";
  const line = element("p", {}, now, until, ".");
  if (limits.mode_until) {
    const back = () => act(`Let RATE_LIMIT_MODE=${limits.configured_mode} count again?`, "End it", "DELETE", "/ops/limits/mode", null, "The configured mode counts again, within five seconds.");
    return element("div", { class: "choices" }, line, element("button", { type: "button", id: "mode-end", click: back }, "End it now"));
  }
  if (limits.mode === "shadow") return element("div", { class: "choices" }, line);
  return element("div", { class: "choices" }, line, element("span", {}, "Refuse nobody for"), ...SHADOW_TIMES.map(shadowButton));
};

const shadowButton = ([name, seconds]) => {
  const press = () => act(`Refuse nobody for ${name}? Requests are counted, and the log tells what would have been refused.`, "Refuse nobody", "PUT", "/ops/limits/mode", { mode: "shadow", seconds }, `Shadow mode for ${name}, at all workers within five seconds.`);
  return element("button", { type: "button", id: `shadow-${seconds}`, "aria-label": `Refuse nobody for ${name}`, click: press }, name);
};

const clients = (caption, where, rows) =>
  table(caption, [
    ["Client", (row) => row.client, "id"],
    ["Policy", (row) => row.policy],
    ["Used", (row) => `${number(row.used)} of ${number(row.quota)} in ${duration(row.window)}`, "number"],
    ["More is free in", (row) => (row.used ? duration(row.reset) : "–"), "number"],
    ["Refused", (row) => number(row.refused), "number"],
    ["Action", (row) => resetButton(row, where), "action"],
  ], rows, "nobody now");

const resetButton = ({ client, policy }, where) => {
  const press = () => act(`Give ${client} its whole quota again?`, "Reset", "POST", "/ops/limits/reset", { client }, `${client} has its whole quota again.`);
  return element("button", { type: "button", id: `reset-${where}-${policy}-${client}`, "aria-label": `Reset ${client}`, click: press }, "Reset");
};

const showHosts = ({ hosts, tasks }) => {
  show(
    "hosts",
    table("Hosts", [
      ["Host", (host) => (host.is_answering ? `${host.host} (answers you)` : host.host), "id"],
      ["Heard of", (host) => `${duration(host.seen_seconds_ago)} ago`, "number"],
      ["Version", (host) => host.version],
      ["Started", (host) => moment(host.started_at)],
      ["Workers", (host) => number(host.workers), "number"],
      ["Requests a second", (host) => decimal(host.requests_per_second), "number"],
      ["Waiting", (host) => number(host.requests_waiting), "number"],
      ["Processes without Redis", (host) => number(host.breakers_open), "number"],
      ["Workers that count alone", (host) => number(host.counted_alone), "number"],
    ], hosts, "none"),
  );
  show("tasks", tasks ? workerTasks(tasks) : unknown("Tasks of the worker", "database"));
};

const workerTasks = (tasks) =>
  table("Tasks of the worker", [
    ["Task", (task) => task.task],
    ["Last success", (task) => moment(task.last_success)],
    ["It took", (task) => (task.seconds === null ? "–" : milliseconds(1000 * task.seconds)), "number"],
    ["Done", (task) => number(task.done), "number"],
    ["Failed", (task) => number(task.failed), "number"],
  ], tasks, "none was ever run");

const showOrders = ({ orders, selling }) => {
  show("orders", orders ? ordersOfToday(orders) : unknown("Orders of today", "database"));
  show("selling", selling ? bestSelling(selling) : unknown("What sells best now", "database"));
};

const ordersOfToday = (orders) =>
  tiles([
    ["Placed today", number(orders.placed)],
    ["Paid today", number(orders.paid)],
    ["Cancelled", number(orders.cancelled), "of those placed today"],
    ...orders.revenue.map(({ currency, amount }) => [`Paid in ${currency}`, money(amount, currency)]),
  ]);

const money = (amount, currency) => {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(amount);
  } catch {
    return `${amount} ${currency}`;
  }
};

const bestSelling = (selling) =>
  table("What sells best now", [
    ["Product", (product) => product.name],
    ["Id", (product) => String(product.product_id), "number"],
    ["Score", (product) => decimal(product.score), "number"],
    ["Left in stock", (product) => number(product.stock), "number"],
  ], selling, "nothing was sold lately");

const showAnswers = ({ errors, slow }) => {
  const first = [
    ["Request id", (answer) => answer.request_id, "id"],
    ["At", (answer) => moment(answer.at)],
    ["Status", (answer) => String(answer.status), "number"],
    ["Took", (answer) => milliseconds(answer.milliseconds), "number"],
    ["Call", (answer) => `${answer.method} ${answer.route ?? "(no route)"}`, "id"],
    ["Host", (answer) => answer.host, "id"],
  ];
  show("errors", table("Failed", first, errors.slice(0, SHOWN_AT_FIRST), "none"), rest(errors));
  show("slow", table("Slow", first, slow.slice(0, SHOWN_AT_FIRST), "none"), rest(slow));
};

const rest = (answers) =>
  answers.length > SHOWN_AT_FIRST ? element("p", { class: "hint" }, `and ${answers.length - SHOWN_AT_FIRST} earlier ones: flask ops status --json`) : "";

const showState = (state) => {
  const found = findings(state);
  showFindings(found.length ? found : [["good", "All is well.", null]]);
  for (const part of [showTiles, showCharts, showCache, showLimits, showHosts, showOrders, showAnswers]) part(state);
};

// Calls.

const call = async (method, path, body, ...signals) => {
  const headers = { Authorization: `Bearer ${key}` };
  if (body) headers["Content-Type"] = "application/json";
  const signal = AbortSignal.any([AbortSignal.timeout(PATIENCE), ...signals]);
  const answer = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : null, signal, cache: "no-store", credentials: "omit" });
  return { status: answer.status, pause: 1000 * Number(answer.headers.get("Retry-After")), body: parsed(await answer.text()) };
};

// A proxy may answer with a page of its own.
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

const look = async () => {
  clearTimeout(timer);
  if (looking || !key) return;
  const mine = (looking = new AbortController());
  let pause = PAUSE;
  try {
    const answer = await call("GET", "/ops/status", null, mine.signal);
    if (answer.status === 401 || answer.status === 403) return logOut(answer.body?.detail ?? `The answer was ${answer.status}.`);
    if (answer.status !== 200 || !answer.body) throw new Error(answer.body?.detail ?? `the answer was ${answer.status}`, { cause: answer.pause });
    failures = 0;
    receive(answer.body);
  } catch (error) {
    if (mine.signal.aborted) return;
    failures += 1;
    pause = Math.max(error.cause || 0, Math.min(LONGEST_PAUSE, PAUSE * 2 ** (failures - 1)));
    fail(error, pause);
  } finally {
    if (looking === mine) {
      looking = null;
      if (key && !document.hidden) timer = setTimeout(look, pause);
    }
  }
};

const receive = (state) => {
  shownAt = new Date(state.as_of);
  place("login").hidden = true;
  place("state").hidden = place("forget").hidden = false;
  showState(state);
  say("age", `as of ${clock(shownAt)}${state.scope === "host" ? ", of this host alone" : ""}`);
};

const fail = (error, pause) => {
  const next = `It is asked again in ${duration(pause / 1000)}.`;
  if (!shownAt) return say("refused", `The state cannot be had: ${reason(error)}. ${next}`);
  say("age", `old: as of ${clock(shownAt)}`);
  showFindings([["bad", `These numbers are old, of ${clock(shownAt)}: ${reason(error)}. ${next}`, "service-down"]]);
};

const reason = (error) => {
  if (error.name === "TimeoutError") return "no answer in time";
  if (error instanceof TypeError) return "the service cannot be reached";
  return error.message.replace(/\.$/, "");
};

const logOut = (why) => {
  looking?.abort();
  looking = null;
  key = told = "";
  failures = shownAt = 0;
  clearTimeout(timer);
  place("state").hidden = place("forget").hidden = true;
  for (const part of place("state").querySelectorAll("section > div")) part.replaceChildren();
  place("login").hidden = false;
  say("refused", why);
  say("age", "");
  say("done", "");
  document.title = "shop: operations";
  place("key").focus();
};

// Ask, and then carry out what the reader wants.
const act = async (question, button, method, path, body, done) => {
  const pressed = document.activeElement;
  const isWanted = await confirmed(question, button);
  // The button may have been replaced since.
  if (pressed.id) focusOn(pressed.id, pressed.isConnected ? pressed : place("state"));
  if (!isWanted) return;
  try {
    const answer = await call(method, path, body);
    tell(answer.status < 300 ? done : `Nothing was done: ${answer.body?.detail ?? answer.status}`);
  } catch (error) {
    tell(`It is not known whether this was done: ${reason(error)}.`);
  }
  look();
};

const tell = (text) => {
  clearTimeout(quiet);
  say("done", text);
  quiet = setTimeout(say, DONE_SHOWN, "done", "");
};

const confirmed = (question, button) =>
  new Promise((resolve) => {
    const ask = place("ask");
    place("question").textContent = question;
    place("yes").textContent = button;
    ask.returnValue = "";
    ask.addEventListener("close", () => resolve(ask.returnValue === "yes"), { once: true });
    ask.showModal();
  });

place("login").addEventListener("submit", (event) => {
  event.preventDefault();
  key = place("key").value.trim();
  place("key").value = "";
  say("refused", "");
  look();
});
place("forget").addEventListener("click", () => logOut(""));
document.addEventListener("visibilitychange", () => document.hidden || look());
