// One's own tokens and password.
import { byId, make, say, timeText } from "./dom.js";
import { call } from "./http.js";

async function list() {
  const answer = await call("GET", "/api/v1/tokens");
  const tokens = answer.tokens ?? answer;
  byId("tokens").replaceChildren(...tokens.map(row));
  if (!tokens.length) byId("tokens").append(make("tr", {}, make("td", { colSpan: 4, textContent: "You have none." })));
}

function row({ id, label, made, expires }) {
  const button = make("button", { type: "button", className: "quiet danger", textContent: "Withdraw" });
  button.setAttribute("aria-label", `Withdraw ${label}`);
  button.addEventListener("click", async () => {
    await call("DELETE", `/api/v1/tokens/${id}`);
    say(`${label} is withdrawn`);
    await list();
  });
  const name = make("th", { scope: "row", textContent: label });
  const cells = [timeText(made), timeText(expires)].map((textContent) => make("td", { textContent }));
  return make("tr", {}, name, ...cells, make("td", {}, button));
}

function form(id, act) {
  const element = byId(id);
  const note = make("p", { className: "error" });
  note.setAttribute("role", "alert");
  element.after(note);
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    note.textContent = "";
    try {
      await act(Object.fromEntries(new FormData(element)));
      element.reset();
    } catch (error) {
      note.textContent = error.hint ? `${error.message} (${error.hint})` : error.message;
    }
  });
}

form("token", async ({ label, days }) => {
  const { token } = await call("POST", "/api/v1/tokens", { label, days: Number(days) });
  byId("secret").textContent = token;
  byId("made").hidden = false;
  await list();
});
form("password", async (given) => {
  await call("POST", "/api/v1/password", { old: given.old, new: given.new });
  location.href = "/login"; // all sessions have ended
});
list();
