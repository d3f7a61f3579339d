"use strict";
for (const figure of document.querySelectorAll("figure[data-hover]")) {
  const data = JSON.parse(figure.dataset.hover);
  const pointer = document.createElement("div");
  const told = document.createElement("div");
  pointer.className = "pointer";
  told.className = "told";

  const nearest = (place) =>
    data.places.reduce((best, at, index) => (Math.abs(at - place) < Math.abs(data.places[best] - place) ? index : best), 0);

  const line = (text, value, colour) => {
    const row = document.createElement("div");
    if (colour !== undefined) row.className = "c" + colour;
    row.append(text);
    if (value !== undefined) row.append(" ", Object.assign(document.createElement("b"), { textContent: value }));
    return row;
  };

  figure.addEventListener("pointermove", (event) => {
    const svg = event.target.closest("svg");
    if (!svg) return hide();
    const box = svg.getBoundingClientRect();
    const home = figure.getBoundingClientRect();
    const scale = box.width / svg.viewBox.baseVal.width;
    const [left, right, top, bottom] = svg.dataset.plot.split(" ").map((edge) => Number(edge) * scale);
    const index = nearest((event.clientX - box.left - left) / (right - left));
    const x = box.left - home.left + left + data.places[index] * (right - left);
    const rows = data.lines.filter((one) => one.values[index] !== null);
    told.replaceChildren(line(data.names[index]), ...rows.map((one) => line(one.name, one.values[index], one.colour)));
    pointer.style.cssText = `left:${x}px;top:${box.top - home.top + top}px;height:${bottom - top}px`;
    figure.append(pointer, told);
    const room = home.width - x > told.offsetWidth + 20;
    told.style.left = `${Math.max(4, room ? x + 12 : x - told.offsetWidth - 12)}px`;
    told.style.top = `${box.top - home.top + top + 8}px`;
  });

  const hide = () => [pointer, told].forEach((part) => part.remove());
  figure.addEventListener("pointerleave", hide);
}
