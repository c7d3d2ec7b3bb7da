// All runs of the folder: filtered, sorted, ticked to be compared, and up to date.
import { address, ago, chip, command, count, h, problems, progress, status } from "./dom.js";
import { latest, listen, soon } from "./live.js";

const COLUMNS = [
  { name: "Run", key: (run) => run.written ?? run.name },
  { name: "Task", key: (run) => run.task ?? "", class: "task" },
  { name: "Workers", key: (run) => run.workers ?? -1, class: "number workers" },
  { name: "Data, faults", key: (run) => run.condition ?? "", class: "condition" },
  { name: "Seed", key: (run) => run.seed ?? -1, class: "number seed" },
  { name: "Accuracy", key: (run) => run.accuracy?.[0] ?? -1, class: "number accuracy" },
  { name: "Time", key: (run) => run.seconds?.[0] ?? -1, class: "number time" },
  { name: "Sent", key: (run) => run.bytes?.[0] ?? -1, class: "number sent" },
  { name: "Status", key: (run) => run.status, class: "status" },
  { name: "Begun", key: (run) => Date.parse(run.created) || 1000 * run.touched, class: "number begun" },
];
const NEWEST = { column: COLUMNS.length - 1, down: true };
const STATES = ["running", "finished", "stopped", "failed", "damaged"];

export function list(main, query) {
  const runs = new Map();
  const studies = new Map();
  const jobs = new Map();
  const ticked = new Set(JSON.parse(sessionStorage.getItem("ticked") ?? "[]"));
  const rows = new Map(); // id → { element, told }
  let sorting = NEWEST;
  let state = query.get("state") ?? "";
  let cut = false;

  const filter = h("input", { type: "search", placeholder: "Filter: gossip dirichlet finished …", value: query.get("q") ?? "",
    "aria-label": "Filter runs by words", oninput: () => { remember(); render(); } });
  const states = h("div", { class: "switch states", role: "group", "aria-label": "Status" });
  const heads = COLUMNS.map((column, place) => h("th", { scope: "col", class: column.class },
    h("button", { type: "button", onclick: () => sort(place) }, column.name)));
  const body = h("tbody", {});
  const all = h("input", { type: "checkbox", "aria-label": "Tick all that are shown", onchange: () => tickAll(all.checked) });
  const tabled = h("div", { class: "wide list", hidden: true }, h("table", { class: "runs" },
    h("thead", {}, h("tr", {}, h("th", { class: "tick" }, all), heads)), body));
  const title = h("h1", {}, "Runs");
  const empty = h("div", { class: "empty", hidden: true });
  const notes = h("div", {});
  const tray = h("div", { class: "tray", hidden: true, role: "region", "aria-label": "Ticked runs" });
  main.replaceChildren(
    h("div", { class: "head" }, title, h("div", { class: "tools" }, states, filter)), notes, empty, tabled, tray);

  function remember() {
    const given = { ...(filter.value ? { q: filter.value } : {}), ...(state ? { state } : {}) };
    history.replaceState(null, "", Object.keys(given).length ? `/?${new URLSearchParams(given)}` : "/");
  }

  function sort(place) {
    if (sorting.column === place) sorting = sorting.down ? { column: place, down: false } : NEWEST;
    else sorting = { column: place, down: true };
    render();
  }

  const jobOf = (run) => jobs.get(run.id) ?? jobs.get(run.study);

  const text = (run) => [run.id, run.name, run.written, run.task, run.condition, run.status, run.clock,
    `seed:${run.seed}`, `workers:${run.workers}`, studies.get(run.study)?.title].join(" ").toLowerCase();

  function matches(run) {
    if (state && run.status !== state) return false;
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const known = text(run);
    return words.every((word) => known.includes(word));
  }

  function ordered(some) {
    const { key } = COLUMNS[sorting.column];
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return (sorting.down ? -order : order) || a.id.localeCompare(b.id);
    };
    return some.sort(compare);
  }

  // Rows in order: by default a study's runs stand together below its name.
  function lines(shown) {
    if (sorting !== NEWEST) return ordered(shown).map((run) => ({ run }));
    const groups = new Map();
    for (const run of ordered(shown)) {
      const group = studies.has(run.study) ? run.study : run.id;
      groups.set(group, [...(groups.get(group) ?? []), run]);
    }
    for (const study of studies.values()) {
      if (!groups.has(study.id) && !state && text({ id: study.id, name: study.title ?? "" }).includes(filter.value.toLowerCase())) {
        groups.set(study.id, []);
      }
    }
    return [...groups].flatMap(([id, own]) => studies.has(id)
      ? [{ study: studies.get(id), own }, ...own.sort((a, b) => a.id.localeCompare(b.id)).map((run) => ({ run, inside: true }))]
      : own.map((run) => ({ run })));
  }

  function runRow({ run, inside }) {
    const tick = h("input", { type: "checkbox", "aria-label": `Tick ${run.name}`, checked: ticked.has(run.id),
      onchange: () => { tick.checked ? ticked.add(run.id) : ticked.delete(run.id); render(); } });
    const link = h("a", { href: address("/run", [run.id]) },
      run.strategy ? h("b", {}, run.strategy) : h("b", {}, run.name),
      run.options ? h("span", { class: "options" }, run.options) : null);
    const name = h("th", { scope: "row", class: "name" }, chip(run.strategy ? run.colour : "var(--line)"), link,
      run.strategy ? h("small", {}, inside ? run.name : run.id) : null);
    if (run.problem !== undefined) {
      return h("tr", { class: "run damaged", "data-id": run.id }, h("td", { class: "tick" }, tick), name,
        h("td", { class: "problem-cell", colspan: 7 }, run.problem), h("td", { class: "status" }, status(run)), h("td", { class: "begun" }));
    }
    const cells = [run.task, run.workers.toLocaleString("en"), run.condition, String(run.seed), run.accuracy[1],
      run.seconds[1], run.bytes[1], [status(run, jobOf(run)), progress(run)], ago(run.created)];
    return h("tr", { class: `run${inside ? " inside" : ""}`, "data-id": run.id }, h("td", { class: "tick" }, tick), name,
      cells.map((cell, place) => h("td", { class: COLUMNS[place + 1].class }, cell,
        COLUMNS[place + 1].name === "Time" ? h("small", {}, run.clock) : null)));
  }

  function studyRow({ study, own }) {
    const ids = [...runs.values()].filter((run) => run.study === study.id).map((run) => run.id);
    const finished = ids.filter((id) => runs.get(id).status === "finished").length;
    const tick = h("input", { type: "checkbox", "aria-label": `Tick all runs of ${study.title ?? study.name}`,
      checked: own.length > 0 && own.every((run) => ticked.has(run.id)),
      onchange: () => { for (const run of own) tick.checked ? ticked.add(run.id) : ticked.delete(run.id); render(); } });
    return h("tr", { class: "study", "data-id": study.id }, h("td", { class: "tick" }, tick),
      h("th", { scope: "row", class: "name", colspan: 8 },
        h("a", { href: address("/compare", [study.id]) }, h("b", {}, study.title ?? study.name)),
        h("small", {}, study.id === "." ? "study" : `study · ${study.id}`),
        study.problem ? problems([study.problem]) : null),
      h("td", { class: "status" }, study.planned === null ? null : `${finished} of ${study.planned} finished`),
      h("td", { class: "number begun" }, ago(study.created)));
  }

  function rowOf(line) {
    const id = line.study ? `study ${line.study.id}` : line.run.id;
    const told = JSON.stringify([line, ticked.has(line.run?.id), line.run ? jobOf(line.run) : null,
      line.study ? line.own.map((run) => ticked.has(run.id)) : null, Math.floor(Date.now() / 20000)]);
    const known = rows.get(id);
    if (known?.told === told) return known.element;
    const element = line.study ? studyRow(line) : runRow(line);
    if (known?.element.isConnected) {
      const focused = known.element.contains(document.activeElement) ? document.activeElement.tagName : null;
      known.element.replaceWith(element);
      if (focused) element.querySelector(focused.toLowerCase())?.focus();
    }
    rows.set(id, { element, told });
    return element;
  }

  function render() {
    const found = [...runs.values()];
    const shown = found.filter(matches);
    const elements = lines(shown).map(rowOf);
    if (elements.length !== body.children.length || elements.some((one, at) => body.children[at] !== one)) {
      body.replaceChildren(...elements);
    }
    heads.forEach((head, place) => head.setAttribute("aria-sort",
      sorting.column !== place ? "none" : sorting.down ? "descending" : "ascending"));
    all.checked = shown.length > 0 && shown.every((run) => ticked.has(run.id));
    const running = found.filter((run) => run.status === "running").length;
    title.replaceChildren("Runs", h("small", {}, shown.length === found.length
      ? found.length.toLocaleString("en") : `${shown.length.toLocaleString("en")} of ${found.length.toLocaleString("en")}`));
    document.title = running ? `${running} running · manyhands` : "manyhands";
    tabled.hidden = elements.length === 0;
    notes.replaceChildren(...problems(cut ? ["There are more folders here than are looked into: open one further down."] : []));
    renderStates(found);
    renderEmpty(found, elements.length === 0);
    renderTray();
  }

  function renderStates(found) {
    const counts = STATES.map((name) => [name, found.filter((run) => run.status === name).length]).filter(([, n]) => n);
    const told = JSON.stringify([counts, state]);
    if (states.dataset.told === told) return;
    states.dataset.told = told;
    states.hidden = counts.length < 2 && !state;
    const choose = (name) => () => { state = name; remember(); render(); };
    states.replaceChildren(
      h("button", { type: "button", "aria-pressed": String(!state), onclick: choose("") }, "all"),
      ...counts.map(([name, number]) => h("button", { type: "button", "aria-pressed": String(state === name),
        onclick: choose(state === name ? "" : name) }, name, h("small", {}, String(number)))));
  }

  function renderEmpty(found, none) {
    empty.hidden = !none;
    if (!none) return;
    const { folder } = document.body.dataset;
    const told = found.length ? filter.value + state : "nothing";
    if (empty.dataset.told === told) return;
    empty.dataset.told = told;
    if (found.length) {
      empty.replaceChildren(h("p", {}, "No run matches."),
        h("button", { type: "button", class: "quiet", onclick: () => { filter.value = ""; state = ""; remember(); render(); } },
          "Show all"));
      return;
    }
    const here = "launch" in document.body.dataset;
    empty.replaceChildren(h("h2", {}, "No runs here yet"),
      h("p", {}, "Runs appear by themselves as soon as there are some in this folder. ",
        here ? ["", h("a", { href: "/new" }, "Start one from here"), ", or in a terminal:"] : "Start one in a terminal:"),
      command(`manyhands train --strategy gossip --out ${quoted(folder)}/first`),
      command(`manyhands compare --strategies all-reduce,gossip,local-sgd --out ${quoted(folder)}/study`));
  }

  const quoted = (path) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\"'\"'")}'`);

  function renderTray() {
    const ids = [...ticked].filter((id) => runs.has(id));
    sessionStorage.setItem("ticked", JSON.stringify(ids));
    tray.hidden = ids.length === 0;
    const told = JSON.stringify(ids);
    if (tray.dataset.told === told) return;
    tray.dataset.told = told;
    tray.replaceChildren(h("span", {}, `${ids.length} ticked`),
      h("a", { class: "button", href: address("/compare", ids) }, "Compare"),
      h("a", { class: "button quiet", href: address("/report", ids), target: "_blank" }, "Report"),
      h("button", { type: "button", class: "quiet", onclick: () => { ticked.clear(); render(); } }, "Untick"));
  }

  function tickAll(on) {
    for (const run of [...runs.values()].filter(matches)) on ? ticked.add(run.id) : ticked.delete(run.id);
    render();
  }

  const take = ({ runs: some, studies: groups, jobs: work, gone = [] }) => {
    for (const run of some) runs.set(run.id, run);
    for (const study of groups) studies.set(study.id, study);
    for (const job of work) jobs.set(job.id, job);
    for (const id of gone) { runs.delete(id); studies.delete(id); rows.delete(id); rows.delete(`study ${id}`); }
  };
  const askAnew = latest();
  const renderSoon = soon(async () => render());
  setInterval(renderSoon, 20000); // ages, and signs of life
  listen({
    changed: (event) => {
      take(event);
      renderSoon();
    },
    again: async () => {
      const told = await askAnew("/api/runs").catch(() => null);
      if (!told) return; // offline, or asked anew: another answer comes
      runs.clear(); studies.clear(); jobs.clear();
      cut = told.answer.cut;
      [told.answer, ...told.events].forEach(take);
      render();
      performance.mark("list drawn");
    },
  });
}
