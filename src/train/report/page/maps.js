// Maps of coloured cells, drawn on a canvas, with the value of the cell under the pointer.
"use strict";

const viridis = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779",
  "#6dcd59", "#b4de2c", "#fde725"];
const blueRed = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7",
  "#f4a582", "#d6604d", "#b2182b", "#67001f"];

// The colour at `at` of [0, 1], linear between those of the ramp.
function rampColor(ramp, at) {
  const place = Math.min(Math.max(at, 0), 1) * (ramp.length - 1);
  const index = Math.min(Math.floor(place), ramp.length - 2);
  const channels = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  const [from, to] = [channels(ramp[index]), channels(ramp[index + 1])];
  return "rgb(" + from.map((c, i) => Math.round(c + (to[i] - c) * (place - index))).join(",") + ")";
}

// How a map's values become colours: the place on the ramp, and the numbers at its ends.
function scaleOf(map) {
  if (map.scale === "load") {
    return { ramp: blueRed, place: (v) => (Math.log2(Math.max(v, 1e-9)) + 3) / 6, ends: ["1/8", "8"] };
  }
  const most = map.scale === "unit" ? 1 : map.most || 1;
  return { ramp: viridis, place: (v) => v / most, ends: ["0", formatNumber(most)] };
}

const mapMargin = { left: 34, top: 4, right: 4, bottom: 46 };

// Cells are as large as fit into the width, at most 26 pixels, at least what can be seen.
function mapLayout(map, width) {
  const room = Math.min(width, 520) - mapMargin.left - mapMargin.right;
  const cellWidth = Math.min(26, room / map.columns);
  const cellHeight = Math.min(20, Math.max(4, Math.min(cellWidth, 400 / map.rows)));
  return { cellWidth, cellHeight,
    width: Math.max(map.columns * cellWidth, 110) + mapMargin.left + mapMargin.right,
    height: map.rows * cellHeight + mapMargin.top + mapMargin.bottom };
}

function paintMap(canvas, map) {
  const layout = canvas.layout, ratio = devicePixelRatio || 1;
  canvas.width = layout.width * ratio;
  canvas.height = layout.height * ratio;
  canvas.style.width = layout.width + "px";
  canvas.style.height = layout.height + "px";
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.translate(mapMargin.left, mapMargin.top);
  const { ramp, place, ends } = scaleOf(map);
  map.values.forEach((value, i) => {
    const [row, column] = [Math.floor(i / map.columns), i % map.columns];
    pen.fillStyle = value === null ? cssColor("--rule") : rampColor(ramp, place(value));
    pen.fillRect(column * layout.cellWidth, row * layout.cellHeight,
      Math.max(layout.cellWidth - 0.5, 0.5), Math.max(layout.cellHeight - 0.5, 0.5));
  });
  pen.fillStyle = cssColor("--muted");
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const every = Math.ceil(12 / layout.cellHeight);
  map.rowNames.forEach((name, row) => {
    if (row % every === 0) pen.fillText(name, -5, (row + 0.5) * layout.cellHeight);
  });
  const below = map.rows * layout.cellHeight;
  pen.textAlign = "left";
  pen.fillText(`${map.xLabel} →`, 0, below + 10);
  pen.save();
  pen.translate(-26, below / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  if (below > 40) pen.fillText(map.yLabel, 0, 0);
  pen.restore();
  for (let x = 0; x < 64; ++x) {
    pen.fillStyle = rampColor(ramp, x / 63);
    pen.fillRect(14 + x, below + 25, 1.2, 8);
  }
  pen.fillStyle = cssColor("--muted");
  pen.textAlign = "right";
  pen.fillText(ends[0], 11, below + 29);
  pen.textAlign = "left";
  pen.fillText(ends[1], 82, below + 29);
}

function showTip(event, canvas, map) {
  const tip = document.getElementById("tip");
  const box = canvas.getBoundingClientRect(), shrunk = box.width / canvas.layout.width;
  const column = Math.floor(((event.clientX - box.left) / shrunk - mapMargin.left) / canvas.layout.cellWidth);
  const row = Math.floor(((event.clientY - box.top) / shrunk - mapMargin.top) / canvas.layout.cellHeight);
  tip.hidden = !(row >= 0 && row < map.rows && column >= 0 && column < map.columns);
  if (tip.hidden) return;
  const value = map.values[row * map.columns + column];
  tip.textContent = `${map.yLabel} ${map.rowNames[row]}, ${map.xLabel} ${column}: ` +
    (value === null ? "not known" : formatNumber(value));
  tip.style.left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = event.clientY + 14 + "px";
}

const maps = [];

function drawMap(figure, map) {
  figure.classList.add("map");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", map.title);
  canvas.layout = mapLayout(map, figure.parentElement.clientWidth);
  figure.append(canvas);
  figure.style.maxWidth = Math.max(canvas.layout.width, 240) + "px";
  paintMap(canvas, map);
  canvas.addEventListener("pointermove", (event) => showTip(event, canvas, map));
  canvas.addEventListener("pointerleave", () => { document.getElementById("tip").hidden = true; });
  maps.push({ canvas, map });
}
