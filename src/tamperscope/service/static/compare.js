// Choosing two versions of a study.
import { byId, make, say } from "./dom.js";
import { call } from "./http.js";

const form = byId("comparison");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { before, after } = Object.fromEntries(new FormData(form));
  try {
    const { id } = await call("POST", "/api/v1/comparisons", { before, after });
    location.href = `/comparisons/${id}`;
  } catch (error) {
    form.after(make("p", { className: "error", textContent: error.hint ? `${error.message} (${error.hint})` : error.message }));
    say(error.message);
  }
});
