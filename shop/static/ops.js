// The operators' page: fetches GET /ops/status every few seconds, and shows it.
// The key is in a variable and nowhere else. Data reaches the page as text, never as HTML.
"use strict";

const PAUSE = 5000; // milliseconds between two looks
const PATIENCE = 4000; // that an answer may take
const LONGEST_PAUSE = 60000; // after looks that failed
const SHOWN_AT_FIRST = 10; // answers of each kind
const UNKNOWN = { redis: "not known: Redis cannot be asked", database: "not known: PostgreSQL cannot be asked" };

let key = "";
let timer = 0;
let failures = 0;
let shownAt = 0; // time of the last answer
let looking = null; // the request under way

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

// Replace the content of a place, and leave the focus where it was.
const show = (id, ...children) => {
  const held = place(id).contains(document.activeElement) && document.activeElement.id;
  place(id).replaceChildren(...children);
  if (held) place(held)?.focus();
};

// A text that a screen reader speaks is replaced only if it is another one.
const say = (id, text) => {
  if (place(id).textContent !== text) place(id).textContent = text;
};

// Numbers and times.

const whole = new Intl.NumberFormat();
const rounded = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

const number = (value) => (value === null ? "–" : whole.format(value));
const decimal = (value) => (value === null ? "–" : rounded.format(value));
const share = (value) => (value === null ? "no reads" : percent.format(value));
const milliseconds = (value) => (value === null ? "–" : `${rounded.format(value)} ms`);
const megabytes = (value) => `${rounded.format(value / 1048576)} MiB`;
const plural = (count, one, many) => `${whole.format(count)} ${count === 1 ? one : many}`;

const duration = (seconds) => {
  if (seconds === null) return "–";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
};

const moment = (text) => {
  if (text === null) return "never";
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const shown = today ? at.toLocaleTimeString() : at.toLocaleString();
  return element("time", { datetime: text, title: `${text.slice(0, 19).replace("T", " ")} UTC` }, shown);
};

// Tables: a column is [title, what to show of a row, class].

const table = (caption, columns, rows, empty) => {
  const title = element("caption", {}, caption);
  if (!rows.length) return element("p", {}, element("strong", {}, `${caption}: `), empty);
  const head = columns.map(([name, , kind]) => element("th", { scope: "col", class: kind === "number" && kind }, name));
  const body = rows.map((row) => element("tr", {}, ...columns.map((column, at) => cell(column, row, at))));
  return element(
    "div",
    { class: "scroll" },
    element("table", {}, title, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)),
  );
};

const cell = ([name, find, kind], row, at) =>
  at === 0
    ? element("th", { scope: "row", class: kind || false }, find(row))
    : element("td", { "data-label": name || false, class: kind || false }, find(row));

const unknown = (caption, why) => element("p", {}, element("strong", {}, `${caption}: `), UNKNOWN[why]);

const tiles = (pairs) =>
  element(
    "dl",
    { class: "tiles" },
    ...pairs.map(([name, value, more]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value, more ? element("small", {}, ` ${more}`) : "")),
    ),
  );

// What is wrong, in words, the worst first: [how bad, text, runbook].

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
  else if (limits.mode === "shadow") found.push(["warn", "The limits refuse nobody: shadow mode.", null]);
  if (limits.counted_alone)
    found.push(["warn", `${plural(limits.counted_alone, "worker counts", "workers count")} requests alone, each by its share of a quota.`, "limits-counted-alone"]);
  return found;
};

const ofHosts = ({ hosts }) => {
  const found = [];
  for (const host of hosts) {
    if (host.seen_seconds_ago > 30)
      found.push(["warn", `${host.host} has not been heard of for ${duration(host.seen_seconds_ago)}.`, "service-down"]);
    else if (host.requests_waiting)
      found.push(["warn", `${plural(host.requests_waiting, "request waits", "requests wait")} for a thread at ${host.host}.`, "requests-waiting"]);
  }
  if (new Set(hosts.map((host) => host.version)).size > 1) found.push(["warn", "The hosts have different versions.", null]);
  return found;
};

const ofTasks = ({ tasks }) => {
  const found = [];
  if (tasks && !tasks.length)
    found.push(["warn", "No worker has ever run: unpaid orders keep their stock. Start flask worker.", "worker-task-not-running"]);
  const expiry = (tasks || []).find((task) => task.task === "expire_orders");
  if (expiry && secondsSince(expiry.last_success) > 60)
    found.push(["bad", `No worker has looked for unpaid orders for ${duration(secondsSince(expiry.last_success))}.`, "worker-task-not-running"]);
  return found;
};

const secondsSince = (text) => (text === null ? Infinity : (Date.now() - new Date(text)) / 1000);

const finding = ([kind, text, runbook]) =>
  element(
    "p",
    { class: `finding ${kind}` },
    `${kind === "bad" ? "✗" : "!"} ${text}`,
    runbook ? element("small", {}, ` What to do: docs/runbooks/${runbook}.md`) : null,
  );

const showFindings = (state) => {
  const order = { bad: 0, warn: 1 };
  const found = findings(state).sort((one, other) => order[one[0]] - order[other[0]]);
  const shown = found.length ? found.map(finding) : [element("p", { class: "finding good" }, "✓ All is well.")];
  const before = place("findings").textContent;
  if (shown.map((one) => one.textContent).join("") !== before) place("findings").replaceChildren(...shown);
};

// The parts of the page.

const showTiles = ({ traffic, cache, hosts, scope }) => {
  const reads = cache.families.reduce((sum, family) => sum + family.reads, 0);
  const hits = cache.families.reduce((sum, family) => sum + family.hits, 0);
  const rate = traffic.seconds ? traffic.requests / traffic.seconds : null;
  const workers = hosts.filter((host) => host.seen_seconds_ago <= 30).reduce((sum, host) => sum + host.workers, 0);
  show(
    "tiles",
    tiles([
      ["Requests a second", decimal(rate), "last minute"],
      ["Half within", milliseconds(traffic.p50_ms)],
      ["95 % within", milliseconds(traffic.p95_ms)],
      ["99 % within", milliseconds(traffic.p99_ms)],
      ["Failed", number(traffic.server_errors), "last minute"],
      ["Refused by limits", number(traffic.refused), "last minute"],
      ["Hit rate", share(reads ? hits / reads : null), "last hour"],
      ["Names in the outbox", cache.outbox ? number(cache.outbox.names) : "not known"],
      ["Workers", number(workers), scope === "service" ? `on ${plural(hosts.length, "host", "hosts")}` : "of this host alone"],
    ]),
  );
};

const MINUTES = 60;

const showChart = ({ minutes, as_of: now }) => {
  const last = Math.floor(new Date(now) / 60000);
  const highest = Math.max(1, ...minutes.map((minute) => minute.requests));
  const bars = minutes.flatMap((minute) => bar(minute, last, highest));
  const failed = minutes.reduce((sum, minute) => sum + minute.server_errors, 0);
  const total = minutes.reduce((sum, minute) => sum + minute.requests, 0);
  const text = `${plural(total, "request", "requests")} in the last hour, at most ${number(highest)} a minute; ${number(failed)} failed.`;
  const axis = drawn("line", { x1: 0, x2: MINUTES, y1: 100, y2: 100, class: "axis", "vector-effect": "non-scaling-stroke" });
  show(
    "chart",
    drawn("svg", { viewBox: `0 0 ${MINUTES} 100`, preserveAspectRatio: "none", role: "img", "aria-label": text }, axis, ...bars),
    element("p", { class: "hint scale", "aria-hidden": "true" }, element("span", {}, "an hour ago"), element("span", {}, "now")),
    element("p", { class: "hint" }, text),
  );
};

const bar = (minute, last, highest) => {
  const x = MINUTES - 1 - (last - Math.floor(new Date(minute.at) / 60000));
  if (x < 0) return [];
  const tall = (count) => (count ? Math.max(2, (100 * count) / highest) : 0); // one is seen, too
  const rectangle = (kind, count, title) =>
    drawn("rect", { class: kind, x: x + 0.1, width: 0.8, y: 100 - tall(count), height: tall(count) }, drawn("title", {}, title));
  const title = `${new Date(minute.at).toLocaleTimeString()}: ${minute.requests} requests, ${minute.server_errors} failed, 95 % within ${milliseconds(minute.p95_ms)}`;
  return [rectangle("bar", minute.requests, title), rectangle("failed", minute.server_errors, title)];
};

const showCache = ({ cache }) => {
  const about = cache.is_estimate ? "about " : "";
  const entries = (family) => (family.entries === null ? "not known" : about + number(family.entries));
  show(
    "families",
    table("Families", [
      ["Family", (family) => family.family],
      ["Hit rate", (family) => share(family.hit_rate), "number"],
      ["Reads", (family) => number(family.reads), "number"],
      ["Entries", entries, "number"],
      ["Half are older than", (family) => duration(family.median_seconds), "number"],
      ["Oldest", (family) => duration(family.oldest_seconds), "number"],
      ["Action", (family) => clearButton(family.family)],
    ], cache.families, "none"),
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
  return element("button", { type: "button", id: `clear-${family}`, "aria-label": `Clear ${what}`, click: press }, family === "all" ? "Clear all" : "Clear");
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
  const press = () => act(`Refuse nobody for ${name}? Requests are counted, and the log tells what would have been refused.`, "Shadow mode", "PUT", "/ops/limits/mode", { mode: "shadow", seconds }, `Shadow mode for ${name}, at all workers within five seconds.`);
  return element("button", { type: "button", id: `shadow-${seconds}`, "aria-label": `Refuse nobody for ${name}`, click: press }, name);
};

const clients = (caption, where, rows) =>
  table(caption, [
    ["Client", (row) => row.client, "id"],
    ["Policy", (row) => row.policy],
    ["Used", (row) => `${number(row.used)} of ${number(row.quota)} in ${duration(row.window)}`, "number"],
    ["More is free in", (row) => (row.used ? duration(row.reset) : "–"), "number"],
    ["Refused", (row) => number(row.refused), "number"],
    ["Action", (row) => resetButton(row, where)],
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
      ["Without Redis", (host) => plural(host.breakers_open, "process", "processes"), "number"],
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
  for (const part of [showFindings, showTiles, showChart, showCache, showLimits, showHosts, showOrders, showAnswers]) part(state);
};

// Calls.

const call = async (method, path, body) => {
  const headers = { Authorization: `Bearer ${key}` };
  if (body) headers["Content-Type"] = "application/json";
  const signal = AbortSignal.timeout(PATIENCE);
  const answer = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : null, signal, cache: "no-store", credentials: "omit" });
  const text = await answer.text();
  return { status: answer.status, pause: Number(answer.headers.get("Retry-After")) * 1000, body: text ? JSON.parse(text) : null };
};

const look = async () => {
  clearTimeout(timer);
  if (looking || !key) return;
  let pause = PAUSE;
  try {
    looking = call("GET", "/ops/status");
    const { status, pause: asked, body } = await looking;
    if (!key) return;
    if (status === 401 || status === 403) return logOut(body.detail);
    if (status !== 200) throw new Error(body?.detail ?? `the answer was ${status}`, { cause: asked });
    failures = 0;
    shownAt = Date.now();
    place("login").hidden = true;
    place("state").hidden = place("forget").hidden = false;
    showState(body);
    say("age", `as of ${new Date(body.as_of).toLocaleTimeString()}${body.scope === "host" ? ", of this host alone" : ""}`);
  } catch (error) {
    failures += 1;
    pause = Math.max(error.cause || 0, Math.min(LONGEST_PAUSE, PAUSE * 2 ** (failures - 1)));
    fail(error);
  } finally {
    looking = null;
    if (key && !document.hidden) timer = setTimeout(look, pause);
  }
};

const fail = (error) => {
  const why = error.name === "TimeoutError" ? "no answer in time" : error instanceof TypeError ? "the service cannot be reached" : error.message;
  if (!shownAt) return say("refused", `The state cannot be had: ${why}. It is asked for again.`);
  say("age", `These numbers are ${duration((Date.now() - shownAt) / 1000)} old: ${why}.`);
};

const logOut = (why) => {
  key = "";
  failures = shownAt = 0;
  clearTimeout(timer);
  place("state").hidden = place("forget").hidden = true;
  for (const part of place("state").querySelectorAll("section > div")) part.replaceChildren();
  place("login").hidden = false;
  say("refused", why);
  say("age", "");
  say("done", "");
  place("key").focus();
};

// Ask, and then carry out what the reader wants.
const act = async (question, button, method, path, body, done) => {
  if (!(await confirmed(question, button))) return;
  try {
    const answer = await call(method, path, body);
    if (answer.status < 300) say("done", done);
    else say("done", `Nothing was done: ${answer.body?.detail ?? answer.status}`);
  } catch (error) {
    say("done", `It is not known whether this was done: ${error.message}`);
  }
  look();
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
