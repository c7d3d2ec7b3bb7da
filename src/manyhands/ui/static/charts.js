// Draws the figures that the server makes: each when it comes into view, and again only if it has changed.
import { h, table } from "./dom.js";

let theme = {};
let library = null;

export const useTheme = (given) => { theme = given; };

function vega() {
  library ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/vega.js" });
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = reject;
    document.head.append(script);
  });
  return library;
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "200px" });

async function draw(plot) {
  const figure = plot.figure;
  if (!figure || plot.drawn === figure || plot.busy) return;
  plot.busy = true;
  const embed = await vega();
  // Beside the old drawing, which it then replaces at once: no flicker.
  const next = h("div", { class: "next" });
  plot.append(next);
  try {
    const result = await embed(next, figure.spec, {
      actions: false, renderer: "svg", config: theme, ast: true, defaultStyle: false,
      tooltip: { theme: "page", disableDefaultStyle: true },
    });
    plot.result?.finalize();
    for (const old of [...plot.children]) if (old !== next) old.remove();
    plot.result = result;
    next.className = "";
    plot.classList.add("drawn");
  } catch (error) {
    next.replaceWith(h("p", { class: "problem" }, `This chart cannot be drawn: ${error.message}`));
  }
  plot.drawn = figure;
  plot.busy = false;
  if (plot.figure !== figure) draw(plot);
}

function element(figure) {
  const plot = h("div", { class: "plot", role: "img" });
  const numbers = h("details", { class: "data" }, h("summary", {}, "Numbers"));
  const holder = h("figure", { "data-key": figure.key },
    h("figcaption", {}, h("h3", {}), h("p", {})), plot, numbers);
  numbers.addEventListener("toggle", () => fill(holder));
  seen.observe(plot);
  return holder;
}

function fill(holder) {
  const numbers = holder.querySelector("details");
  numbers.querySelector(".wide")?.remove();
  if (numbers.open) numbers.append(table(holder.figure.header, holder.figure.rows, holder.figure.title));
}

// Shows these figures in a place, those that are there already in the same elements.
export function show(place, figures) {
  const known = new Map([...place.children].map((child) => [child.dataset.key, child]));
  const holders = figures.map((figure) => known.get(figure.key) ?? element(figure));
  if (holders.length !== place.children.length || holders.some((holder, at) => place.children[at] !== holder)) {
    place.replaceChildren(...holders);
  }
  figures.forEach((figure, at) => {
    const holder = holders[at];
    if (holder.told === JSON.stringify(figure)) return;
    holder.told = JSON.stringify(figure);
    holder.figure = figure;
    holder.className = figure.broad ? "broad" : "";
    holder.querySelector("h3").textContent = figure.title;
    holder.querySelector("figcaption p").textContent = figure.caption;
    const plot = holder.querySelector(".plot");
    plot.setAttribute("aria-label", figure.alt);
    plot.figure = figure;
    fill(holder);
    const box = plot.getBoundingClientRect();
    if (box.bottom > -200 && box.top < window.innerHeight + 200) draw(plot);
    else { seen.unobserve(plot); seen.observe(plot); }
  });
}

// Epochs, time or bytes: what curves are drawn against.
export function scales(chosen, choose) {
  const names = { epoch: "by epoch", time: "by time", bytes: "by bytes" };
  return h("div", { class: "switch", role: "group", "aria-label": "Curves are drawn" },
    Object.entries(names).map(([name, words]) =>
      h("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, words)));
}
