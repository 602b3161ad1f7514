// Sorts and filters tables, moves sample images through training; the page is complete without it.
"use strict";
(() => {
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    const number = Number(cell.dataset.key ?? (text === "" ? NaN : text));
    return text === "–" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sortBy = (table, heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
    // What is absent stays last in both directions.
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return down ? compare(b, a) : compare(a, b);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  const addFilter = (table) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("output");
    const rows = [...table.tBodies[0].rows];
    label.className = "filter";
    input.type = "search";
    input.placeholder = "Filter rows: words, all of them";
    input.setAttribute("aria-label", "Filter rows");
    label.append(input, count);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
  };
  const labelled = (text, ...elements) => {
    const label = document.createElement("label");
    label.append(text, ...elements);
    return label;
  };
  const addControls = (table) => {
    const moments = table.dataset.moments.split("|").filter(Boolean);
    const ranks = table.dataset.ranks.split("|").filter(Boolean);
    const cells = [...table.querySelectorAll("td")].map((cell) => [...cell.children]);
    let moment = moments.length - 1;
    let rank = 0;
    const show = () => {
      for (const frames of cells) {
        // A run that ended early shows its last samples from then on.
        const shown = frames
          .filter((frame) => frame.dataset.ranks.split(" ").includes(String(rank)))
          .sort((a, b) => a.dataset.moment - b.dataset.moment)
          .filter((frame, i) => i === 0 || Number(frame.dataset.moment) <= moment)
          .at(-1);
        for (const frame of frames) frame.hidden = frame !== shown;
      }
    };
    const bar = document.createElement("div");
    bar.className = "controls";
    if (moments.length > 1) {
      const slider = document.createElement("input");
      const output = document.createElement("output");
      Object.assign(slider, { type: "range", min: 0, max: moment, step: 1, value: moment });
      const say = () => {
        output.textContent = moments[moment];
        slider.setAttribute("aria-valuetext", moments[moment]);
      };
      slider.addEventListener("input", () => {
        moment = Number(slider.value);
        say();
        show();
      });
      say();
      bar.append(labelled("Samples at", slider, output));
    }
    if (ranks.length > 1) {
      const select = document.createElement("select");
      for (const name of ranks) select.add(new Option(name));
      select.addEventListener("change", () => {
        rank = select.selectedIndex;
        show();
      });
      bar.append(labelled("Seed", select));
    }
    if (bar.children.length) table.parentElement.before(bar);
  };
  for (const table of document.querySelectorAll("table.gallery")) addControls(table);
  for (const table of document.querySelectorAll("table.data")) {
    if (table.tBodies[0].rows.length > 8) addFilter(table);
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => sortBy(table, heading, column));
    });
  }
  const closed = [];
  addEventListener("beforeprint", () => {
    closed.push(...document.querySelectorAll("details:not([open])"));
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of closed.splice(0)) details.open = false;
  });
})();
