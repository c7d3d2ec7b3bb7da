"use strict";
// Charts are drawn one after another, those in a closed section when it is opened.
const specifications = JSON.parse(document.getElementById("specifications").textContent);
const drawn = new Set();

async function draw(plot) {
  if (drawn.has(plot.id) || plot.closest("details:not([open])")) return;
  drawn.add(plot.id);
  await vegaEmbed(plot, specifications.charts[plot.id], {
    actions: false, renderer: "svg", config: specifications.theme, tooltip: { theme: "page" },
  });
}

async function drawAll(root) {
  for (const plot of root.querySelectorAll(".plot")) await draw(plot);
}

for (const section of document.querySelectorAll("details.run")) {
  section.addEventListener("toggle", () => drawAll(section));
}
drawAll(document);
