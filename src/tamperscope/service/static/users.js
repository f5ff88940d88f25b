// Who may do what; for administrators.
import { byId, make, say } from "./dom.js";
import { call } from "./http.js";

const ROLES = ["viewer", "submitter", "administrator"];

async function list() {
  const answer = await call("GET", "/api/v1/users");
  byId("users").replaceChildren(...(answer.users ?? answer).map(row));
}

function row({ name, role }) {
  const url = `/api/v1/users/${encodeURIComponent(name)}`;
  const select = make("select", {}, ...ROLES.map((value) => make("option", { textContent: value, selected: value === role })));
  select.setAttribute("aria-label", `Role of ${name}`);
  select.addEventListener("change", () => act(`${name} is ${select.value} now`, () => call("PATCH", url, { role: select.value })));
  const password = make("input", { type: "password", autocomplete: "new-password", minLength: 10, required: true });
  password.setAttribute("aria-label", `New password of ${name}`);
  const form = make("form", { className: "line" }, password, " ", make("button", { className: "quiet", textContent: "Set" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(`The password of ${name} is set`, () => call("PATCH", url, { password: password.value }));
  });
  const remove = make("button", { type: "button", className: "quiet danger", textContent: "Remove" });
  remove.setAttribute("aria-label", `Remove ${name}`);
  remove.addEventListener("click", () => confirm(`Remove ${name}?`) && act(`${name} is removed`, () => call("DELETE", url)));
  const title = make("th", { scope: "row", textContent: name });
  return make("tr", {}, title, make("td", {}, select), make("td", {}, form), make("td", {}, remove));
}

const note = make("p", { className: "error" });
note.setAttribute("role", "alert");
byId("user").after(note);

async function act(done, action) {
  note.textContent = "";
  try {
    await action();
    say(done);
  } catch (error) {
    note.textContent = error.hint ? `${error.message} (${error.hint})` : error.message;
  }
  await list();
}

byId("user").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const given = Object.fromEntries(new FormData(form));
  act(`${given.name} is added`, async () => {
    await call("POST", "/api/v1/users", given);
    form.reset();
  });
});
list();
