// Who did what, newest first; for administrators.
import { byId, make, timeText } from "./dom.js";
import { call } from "./http.js";

const LIMIT = 500;
const answer = await call("GET", `/api/v1/audit?limit=${LIMIT}`);
const entries = Array.isArray(answer) ? answer : answer.entries;
byId("entries").replaceChildren(...entries.map(row));

function row(entry) {
  const { time, user, event, ...details } = entry;
  const when = timeText(Date.parse(time) / 1000);
  const text = Object.entries(details).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return make("tr", {}, ...[when, user ?? "–", event ?? "–", text].map((textContent) => make("td", { textContent: String(textContent) })));
}
