// Leaves only the runs of the address's selection in the list, such as ?runs=0-4,7.
"use strict";
(() => {
  const wanted = new URLSearchParams(location.search).get("runs");
  if (!wanted) return;
  const chosen = new Set();
  const rows = [...document.querySelectorAll(".list tbody tr")];
  for (const part of wanted.split(",")) {
    const [first, last] = part.split("-").map(Number);
    for (let i = first; i <= Math.min(last ?? first, rows.length - 1); i += 1) chosen.add(i);
  }
  rows.forEach((row, i) => chosen.has(i) || row.remove());
  const line = document.querySelector(".selection");
  line.querySelector("output").textContent =
    `${chosen.size} of ${rows.length} runs: those behind what led here.`;
  line.hidden = false;
})();
