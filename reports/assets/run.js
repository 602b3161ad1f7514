// Shows one moment of the samples at a time; without it, the last one is shown.
"use strict";
(() => {
  const pick = document.querySelector(".pick");
  const moments = [...document.querySelectorAll(".strip figure")];
  if (!pick || moments.length < 2) return;
  const input = pick.querySelector("input");
  const show = () => {
    moments.forEach((moment, i) => moment.classList.toggle("earlier", i !== Number(input.value)));
    const words = moments[input.value].querySelector("figcaption").textContent;
    input.setAttribute("aria-valuetext", words);
  };
  pick.hidden = false;
  input.addEventListener("input", show);
  show();
})();
