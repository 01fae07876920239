// Everything that is shown goes in as text; nothing is ever read as HTML.
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value); else if (value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter(child => child !== null));
  return node;
}
function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const two = value => value === null || Number.isNaN(value) ? "–" : value.toFixed(2);
function figure([value, low, high]) {
  const cell = el("td", {class: "number"}, two(value));
  if (value !== null) cell.append(el("span", {class: "interval"}, ` ${two(low)}–${two(high)}`));
  return cell;
}
const row = (...cells) => el("tr", {}, ...cells.map(cell => cell instanceof Node ? cell : el("td", {}, cell)));
const number = value => el("td", {class: "number"}, String(value));
function table(headings, rows) {
  const heads = headings.map(([name, kind]) => el("th", {class: kind || null, scope: "col"}, name));
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
}

const SIZE = 260, PAD = 30;
const x = value => PAD + value * (SIZE - 2 * PAD), y = value => SIZE - PAD - value * (SIZE - 2 * PAD);
function frame(across, up) {
  const lines = [0, .5, 1].flatMap(value => [
    svg("line", {x1: x(value), x2: x(value), y1: y(0), y2: y(1), stroke: "var(--line)"}),
    svg("line", {x1: x(0), x2: x(1), y1: y(value), y2: y(value), stroke: "var(--line)"}),
    svg("text", {x: x(value), y: SIZE - 14, "text-anchor": "middle"}, String(value))]);
  return svg("svg", {width: SIZE, height: SIZE, viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": `${up} over ${across}`},
    ...lines, svg("text", {x: SIZE / 2, y: SIZE - 2, "text-anchor": "middle"}, across),
    svg("text", {x: 10, y: SIZE / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${SIZE / 2})`}, up));
}
const path = (points, colour) => svg("polyline", {points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), fill: "none",
  stroke: colour, "stroke-width": 2});
