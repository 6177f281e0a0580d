// Draws everything that the page has a place for, and again when colours change.
"use strict";

function repaint() {
  charts.forEach(paint);
  maps.forEach(({ canvas, map }) => paintMap(canvas, map));
}

Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.font.size = 11;
for (const row of document.querySelectorAll("tr[data-family]")) {
  row.style.setProperty("--swatch", `var(${familyVariable(Number(row.dataset.family))})`);
}
for (const figure of document.querySelectorAll("figure[data-chart]")) {
  drawChart(figure, report.charts[figure.dataset.chart]);
}
for (const figure of document.querySelectorAll("figure[data-map]")) {
  drawMap(figure, report.maps[figure.dataset.map]);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
// Paper is white, whatever the screen is.
const print = (on) => { document.documentElement.classList.toggle("printing", on); repaint(); };
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
document.documentElement.dataset.drawn = charts.length + maps.length;
