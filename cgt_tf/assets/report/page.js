"use strict";
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  vegaEmbed(place, spec, { actions: false, renderer: "svg" });
}
for (const slider of document.querySelectorAll("input[data-steps]")) {
  const steps = JSON.parse(document.getElementById(slider.dataset.steps).textContent);
  const image = document.getElementById(slider.dataset.image);
  const label = document.getElementById(slider.dataset.label);
  const show = () => {
    const [step, picture] = steps[Number(slider.value)];
    image.src = picture;
    label.textContent = `step ${step}`;
  };
  slider.addEventListener("input", show);
  show();
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement;
    const body = header.closest("table").tBodies[0];
    const column = header.cellIndex;
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    });
    body.append(...rows);
  });
}
