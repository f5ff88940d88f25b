// What every page does: the switch of the theme, and times in the reader's own time zone.
import { localTimes } from "./dom.js";

const root = document.documentElement;
const select = document.getElementById("theme");
select.value = root.dataset.theme ?? "";
select.addEventListener("change", () => {
  if (select.value) {
    root.dataset.theme = select.value;
    localStorage.setItem("theme", select.value);
  } else {
    delete root.dataset.theme;
    localStorage.removeItem("theme");
  }
});
select.closest("label").hidden = false;
localTimes(document);
