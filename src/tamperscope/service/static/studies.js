// The first page: dropping studies, and a table that keeps itself up to date.
import { byId, localTimes, say } from "./dom.js";
import { call, listen } from "./http.js";
import { zone } from "./upload.js";

const rows = byId("rows");
const drop = zone(() => {});
const asked = new Map(); // number of a study to whether it has changed since it was asked for

/** Fetch a row as the service draws it, and put it where it belongs. */
async function refresh(id) {
  if (asked.has(id)) {
    asked.set(id, true);
    return;
  }
  asked.set(id, false);
  try {
    const answer = await fetch(`/studies/${id}/row`, { credentials: "same-origin" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(`<table>${await answer.text()}</table>`, "text/html").querySelector("tr");
    localTimes(fresh);
    const old = byId(`study-${id}`);
    if (old) {
      const box = fresh.querySelector("input");
      if (box) box.checked = old.querySelector("input").checked;
      old.replaceWith(fresh);
    } else if (rows.closest("table").dataset.first === "true") {
      rows.prepend(fresh);
      byId("none").hidden = true;
      byId("total").textContent = Number(byId("total").textContent) + 1;
    }
  } finally {
    const changed = asked.get(id);
    asked.delete(id);
    if (changed) refresh(id);
  }
}

/** Every row that could still change, after a time without events. */
function again() {
  for (const row of rows.querySelectorAll("tr")) {
    if (row.dataset.state !== "done" && row.dataset.state !== "failed") refresh(row.id.replace("study-", ""));
  }
}

function study(event) {
  const row = byId(`study-${event.id}`);
  const bar = row?.querySelector("progress");
  if (row && row.dataset.state === event.state && event.state !== "done") {
    if (bar) bar.value = event.progress;
    if (bar) row.querySelector(".percent").textContent = `${Math.round(100 * event.progress)} %`;
    return;
  }
  if (row && event.state === "done") say(`${event.name} is done`);
  refresh(event.id);
}

listen({ study, upload: (upload) => drop.event(upload) }, again);

const button = byId("compare");
if (button) {
  button.hidden = false;
  let chosen = []; // in the order in which they were chosen: before, after
  rows.addEventListener("change", ({ target }) => {
    chosen = chosen.filter((id) => id !== target.value).concat(target.checked ? [target.value] : []);
    button.disabled = chosen.length !== 2;
  });
  button.addEventListener("click", async () => {
    const [before, after] = chosen;
    try {
      const { id } = await call("POST", "/api/v1/comparisons", { before, after });
      location.href = `/comparisons/${id}`;
    } catch (error) {
      say(error.message);
      button.textContent = error.message;
    }
  });
}
