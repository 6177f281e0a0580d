// Line charts by Chart.js: colours of variants, legends that switch a variant in all charts,
// enlarging by dragging.
"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const hidden = new Set();  // groups that legends have switched off
const charts = [];         // {chart, spec, legend}

const cssColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The first family is the baseline's; the palette begins again behind its end.
const familyVariable = (family) => "--c" + (family === 0 ? 0 : (family - 1) % 9 + 1);

function withAlpha(color, alpha) {
  return color + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

function lineColor(line, byFamily) {
  const group = report.groups[line.group];
  const strength = line.style === "faint" ? 0.55 : byFamily ? 1 : 1 - 0.6 * group.shade;
  return withAlpha(cssColor(familyVariable(group.family)), strength);
}

function formatNumber(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return value.toExponential(2).replace("e+", "e");
  if (size < 1e-3) return String(Number(value.toPrecision(2)).toExponential());
  return String(Number(value.toPrecision(5)));
}

function formatTick(value) {
  if (Math.abs(value) >= 1e6) return formatNumber(value / 1e6) + "M";
  if (Math.abs(value) >= 1e4) return formatNumber(value / 1e3) + "k";
  return formatNumber(value);
}

// On a logarithmic axis, 1, 2 and 5 of each decade at most, and fewer where they would crowd.
function formatLogTick(value, index, ticks) {
  const leading = Number(value.toExponential().split("e")[0]);
  const decades = Math.log10(ticks[ticks.length - 1].value / ticks[0].value);
  const shown = decades > 4 ? [1] : [1, 2, 5];
  return shown.includes(Math.round(leading * 1e6) / 1e6) ? formatTick(value) : "";
}

function datasetOf(line) {
  const color = lineColor(line, false);
  const marks = line.style === "points" || line.style === "crosses";
  return {
    label: line.name,
    data: line.x.map((x, i) => ({ x, y: line.y[i] === null ? NaN : line.y[i] })),
    borderColor: color,
    backgroundColor: color,
    borderWidth: marks ? 1.5 : line.style === "faint" ? 0.7 : line.x.length > 600 ? 1 : 1.4,
    borderDash: line.style === "dashed" ? [4, 3] : [],
    borderJoinStyle: "round",
    showLine: !marks,
    pointStyle: line.style === "crosses" ? "crossRot" : "circle",
    pointRadius: line.style === "crosses" ? 5 : marks ? 3 : line.x.length < 12 ? 2 : 0,
    pointHoverRadius: 3,
    hidden: hidden.has(line.group),
  };
}

function axis(label, logarithmic, extra) {
  return {
    type: logarithmic ? "logarithmic" : "linear",
    title: { display: true, text: label },
    ticks: {
      includeBounds: false,
      maxRotation: 0,
      precision: label === "layer" ? 0 : undefined,
      autoSkipPadding: 12,
      callback: logarithmic ? formatLogTick : formatTick,
    },
    ...extra,
  };
}

// Colours that may change with the scheme, set anew each time.
function paint(entry) {
  const { chart, spec, legend } = entry;
  spec.lines.forEach((line, i) => {
    const color = lineColor(line, spec.byFamily);
    Object.assign(chart.data.datasets[i], { borderColor: color, backgroundColor: color });
  });
  for (const scale of [chart.options.scales.x, chart.options.scales.y]) {
    scale.ticks.color = cssColor("--muted");
    scale.title.color = cssColor("--muted");
    scale.grid = { color: cssColor("--rule"), lineWidth: 0.7, drawTicks: false };
    scale.ticks.padding = 6;
  }
  const tooltip = chart.options.plugins.tooltip;
  tooltip.backgroundColor = cssColor("--ink");
  tooltip.titleColor = tooltip.bodyColor = cssColor("--paper");
  for (const button of legend.children) {
    button.setAttribute("aria-pressed", button.groups.every((group) => !hidden.has(group)));
  }
  chart.update("none");
}

function legendEntries(spec) {
  const groups = [...new Set(spec.lines.map((line) => line.group))];
  // In a sweep a variant has a group for each learning rate.
  if (!spec.byFamily && report.families.length === report.groups.length) {
    return groups.map((group) => ({
      name: report.groups[group].name, family: report.groups[group].family, groups: [group] }));
  }
  const families = [...new Set(groups.map((group) => report.groups[group].family))];
  return families.map((family) => ({
    name: report.families[family], family,
    groups: report.groups.flatMap((group, i) => group.family === family ? [i] : []) }));
}

function toggle(groups) {
  const off = groups.every((group) => !hidden.has(group));
  for (const group of groups) off ? hidden.add(group) : hidden.delete(group);
  for (const entry of charts) {
    entry.spec.lines.forEach((line, i) => {
      entry.chart.data.datasets[i].hidden = hidden.has(line.group);
    });
    paint(entry);
  }
}

function makeLegend(spec) {
  const legend = document.createElement("div");
  legend.className = "legend";
  for (const entry of legendEntries(spec)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = entry.name;
    button.groups = entry.groups;
    button.style.setProperty("--swatch", `var(${familyVariable(entry.family)})`);
    button.addEventListener("click", () => toggle(entry.groups));
    legend.append(button);
  }
  return legend;
}

// With a mouse, dragging chooses a range of x, a double click gives it back. Fingers scroll.
function enlargeByDragging(chart, plot) {
  const canvas = chart.canvas;
  let start = null;
  const band = document.createElement("div");
  band.className = "band";
  const within = (event) => {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    return Math.min(Math.max(x, chart.chartArea.left), chart.chartArea.right);
  };
  const show = (a, b) => {
    band.style.left = Math.min(a, b) + "px";
    band.style.width = Math.abs(a - b) + "px";
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0) return;
    start = within(event);
    canvas.setPointerCapture(event.pointerId);
    show(start, start);
    plot.append(band);
  });
  canvas.addEventListener("pointermove", (event) => { if (start !== null) show(start, within(event)); });
  canvas.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [low, high] = [start, within(event)].sort((a, b) => a - b);
    start = null;
    band.remove();
    if (high - low < 8) return;
    const scale = chart.scales.x;
    [chart.options.scales.x.min, chart.options.scales.x.max] =
      [scale.getValueForPixel(low), scale.getValueForPixel(high)];
    chart.update("none");
  });
  const { min, max } = chart.options.scales.x;
  canvas.addEventListener("dblclick", () => {
    Object.assign(chart.options.scales.x, { min, max });
    chart.update("none");
  });
}

// Lines begin and end at the edges of a chart; axes have round numbers all the same.
function rangeOf(spec) {
  const low = Math.min(...spec.lines.map((line) => line.x[0]));
  const high = Math.max(...spec.lines.map((line) => line.x[line.x.length - 1]));
  if (!(low < high)) return {};
  return spec.logX ? { min: low / 1.25, max: high * 1.25 } : { min: low, max: high };
}

function drawChart(figure, spec) {
  const legend = makeLegend(spec);
  const plot = document.createElement("div");
  plot.className = "plot";
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${spec.title}: ${spec.yLabel} over ${spec.xLabel}`);
  plot.append(canvas);
  figure.append(legend, plot);
  const chart = new Chart(canvas, {
    type: "line",
    data: { datasets: spec.lines.map(datasetOf) },
    options: {
      animation: false,
      parsing: false,
      normalized: true,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "xy", intersect: false },
      plugins: {
        legend: { display: false },
        tooltip: {
          displayColors: false,
          callbacks: {
            title: (items) => items.slice(0, 1).map((i) => `${spec.xLabel} ${formatNumber(i.parsed.x)}`),
            label: (item) => `${item.dataset.label}: ${formatNumber(item.parsed.y)}`,
          },
        },
      },
      scales: {
        x: axis(spec.xLabel, spec.logX, rangeOf(spec)),
        y: axis(spec.yLabel, spec.logY, { min: spec.yMin, max: spec.yMax }),
      },
    },
  });
  const entry = { chart, spec, legend };
  charts.push(entry);
  paint(entry);
  enlargeByDragging(chart, plot);
}
