// Comfort only: every page works without it.
for (const area of document.querySelectorAll("textarea")) {
  const told = document.createElement("small");
  const count = () => (told.textContent = `${area.value.length} / 2000`);
  area.after(told);
  area.addEventListener("input", count);
  count();
}
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", () => form.setAttribute("aria-busy", "true"));
}
