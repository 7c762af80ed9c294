// Keys: j and k move between the rows of a list, Enter opens a row (as a link does), / goes to the search, and what has
// a key of its own (data-key) is clicked by it.
"use strict";

document.addEventListener("keydown", (event) => {
  const place = event.target;
  const typing = place instanceof HTMLElement && place.matches("input:not([type=checkbox]), select, textarea");
  if (typing) {
    if (event.key === "Escape") place.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
    return;
  }
  const keyed = Array.from(document.querySelectorAll("[data-key]")).find((one) => one.dataset.key === event.key);
  if (keyed) {
    event.preventDefault();
    if (!event.repeat) keyed.click();
    return;
  }
  if (event.key !== "j" && event.key !== "k") return;
  const rows = Array.from(document.querySelectorAll("a[data-row]"));
  if (rows.length === 0) return;
  const now = rows.indexOf(document.activeElement);
  const next = event.key === "j" ? Math.min(now + 1, rows.length - 1) : Math.max(now - 1, 0);
  event.preventDefault();
  rows[next].focus();
});
