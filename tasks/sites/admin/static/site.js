// Comfort only: every page works without it.
const all = document.querySelector("[data-all]");
if (all) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of document.querySelectorAll("input[name=selected]")) box.checked = all.checked;
  });
}
