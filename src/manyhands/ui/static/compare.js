// Several runs side by side, or all of a study.
import { scales, show, useTheme } from "./charts.js";
import { address, chip, count, h, problems, table, update } from "./dom.js";
import { act, latest, listen, soon } from "./live.js";

export function compare(main, query) {
  const ids = query.getAll("id");
  const launch = "launch" in document.body.dataset;
  let scale = query.get("scale") ?? "epoch";
  let content = null;
  let failure = "";

  const head = h("div", { class: "head" });
  const notes = h("div", {});
  const summary = h("div", {});
  const chooser = h("div", { class: "chooser", hidden: true });
  const learning = h("div", { class: "figures" });
  const differ = h("section", { class: "differ" });
  const parts = [head, notes, summary, chooser, learning, differ];
  main.replaceChildren(...parts);

  const attempt = (path) => async () => {
    failure = "";
    await act(path, { id: ids[0] }).catch((error) => { failure = error.message; });
    await load();
  };

  function actions() {
    const { study, job, runs } = content;
    const working = job && job.state !== "ended";
    const left = study && (study.planned === null || runs.filter((run) => run.status === "finished").length < study.planned);
    return h("div", { class: "actions" },
      h("a", { class: "button quiet", href: address("/report", ids), target: "_blank" }, "Report"),
      launch && working ? h("button", { type: "button", class: "stop", disabled: job.interrupted, onclick: attempt("/api/stop") },
        job.interrupted ? "Stopping …" : "Stop") : null,
      launch && study && left && !working && !runs.some((run) => run.status === "running")
        ? h("button", { type: "button", onclick: attempt("/api/resume") }, "Resume") : null);
  }

  function render() {
    const { study, runs, job } = content;
    const name = study ? study.title ?? study.name : count(runs.length, "run");
    document.title = `${name} · manyhands`;
    const finished = runs.filter((run) => run.status === "finished").length;
    const words = study
      ? `${finished} of ${study.planned ?? runs.length} runs finished${job && job.state === "starting" ? "; starting" : ""}`
      : runs.map((run) => run.name).join(", ");
    update(head, JSON.stringify([name, words, job, finished]), () => [
      h("div", {}, h("p", { class: "kind" }, h("a", { href: "/" }, "Runs"), study ? ` / ${study.id}` : " / side by side"),
        h("h1", {}, name), h("p", { class: "words" }, words)),
      actions(),
    ]);
    const texts = [failure, job?.error ?? "", ...content.problems].filter(Boolean);
    update(notes, JSON.stringify(texts), () => problems(texts));
    update(summary, JSON.stringify([content.heading, content.rows]), () => content.rows.length ? summaryTable() : []);
    chooser.hidden = content.figures.length === 0;
    update(chooser, scale, () => [h("h2", {}, "Learning"), scales(scale, (chosen) => {
      scale = chosen;
      history.replaceState(null, "", address("/compare", ids, { scale }));
      load();
    })]);
    show(learning, content.figures);
    update(differ, JSON.stringify(content.differ), () => content.differ.lines.length ? [
      h("h2", {}, "Where they differ"), table(["", ...content.differ.heading], content.differ.lines, "Where they differ")] : []);
  }

  function summaryTable() {
    return h("div", { class: "wide", role: "region", "aria-label": "Results", tabindex: 0 }, h("table", { class: "summary" },
      h("thead", {}, h("tr", {}, content.heading.map(([name, meaning]) => h("th", { scope: "col", title: meaning }, name)))),
      h("tbody", {}, content.rows.map((row) => h("tr", {},
        h("th", { scope: "row" }, chip(row.colour), row.cells[0], row.status ? h("em", { class: "status" }, ` ${row.status}`) : null,
          row.details.length ? h("small", {}, row.details.join(" · ")) : null),
        row.cells.slice(1).map((cell) => h("td", {}, cell)))))));
  }

  const askAnew = latest();
  async function load() {
    let told;
    try {
      told = await askAnew(address("/api/compare", ids, { scale }));
    } catch (error) {
      if (error.status === undefined) return; // offline: it comes again
      main.replaceChildren(h("h1", {}, "Nothing to compare"), ...problems([error.message]), h("p", {}, h("a", { href: "/" }, "To all runs")));
      return;
    }
    if (told === null) return;
    if (!head.isConnected) main.replaceChildren(...parts); // it was not here a moment ago
    content = told.answer;
    useTheme(content.theme);
    render();
  }

  const loadSoon = soon(load);
  listen({
    changed: ({ runs, studies, jobs, gone }) => {
      const touched = [...runs.flatMap((run) => [run.id, run.study]), ...[...studies, ...jobs].map((one) => one.id), ...gone];
      if (touched.some((id) => ids.includes(id))) loadSoon();
    },
    again: load,
  });
}
