// The controls round the panes that a study and a comparison share: slices, size, the plot along the slices.
import { byId } from "./dom.js";

/** Wire them to a viewer; `box()` is the place that "Enlarge the place" shows. */
export function controls(viewer, box) {
  const slider = byId("slice");
  const plot = byId("scores");
  const here = plot?.querySelector(".here");
  slider.addEventListener("input", () => viewer.go(slider.value - 1));
  byId("back").addEventListener("click", () => viewer.go(viewer.at.k - 1));
  byId("on").addEventListener("click", () => viewer.go(viewer.at.k + 1));
  byId("whole").addEventListener("click", () => viewer.whole());
  byId("enlarge").addEventListener("click", () => {
    viewer.go(Math.min(Math.max(viewer.at.k, box()[0][0]), box()[1][0]));
    viewer.enlarge(box());
  });
  plot?.querySelector("svg").addEventListener("click", (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const run = event.target.closest("a");
    event.preventDefault();
    // A key press on a link comes without a place: it means the highest slice of the run.
    viewer.go(event.detail === 0 && run ? fromHash(run.getAttribute("href")) : Math.floor(((event.clientX - left) / width) * viewer.depth));
  });
  viewer.addEventListener("change", () => {
    const { k, zoom } = viewer.at;
    slider.value = k + 1;
    slider.setAttribute("aria-valuetext", `${k + 1} of ${viewer.depth}`);
    byId("slice-said").textContent = `${k + 1} of ${viewer.depth}`;
    byId("whole").setAttribute("aria-pressed", zoom === 1);
    byId("enlarge").setAttribute("aria-pressed", zoom > 1);
    here?.setAttribute("x", (1000 * k) / viewer.depth);
  });
  addEventListener("hashchange", () => /^#slice-\d+$/.test(location.hash) && viewer.go(fromHash(location.hash)));
}

/** The slice, counted from 0, that an address such as "#slice-17" names. */
export const fromHash = (hash) => Number(hash.replace("#slice-", "")) - 1;

/** Why there is no viewer, and what there is instead. */
export function without(text) {
  byId("viewer-state").textContent = text;
  byId("viewer").hidden = true;
  byId("picture")?.setAttribute("open", "");
}
