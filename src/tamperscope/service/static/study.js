// A study: its state while it waits and runs, then the viewer, the regions and the second opinion.
import { byId, make, say } from "./dom.js";
import { call, listen } from "./http.js";
import { controls, fromHash, without } from "./controls.js";

const MANY = 2 ** 27; // voxels from which the noise is loaded on request alone: it doubles the graphics memory
const FAINTEST = 0.2; // as in the pictures of the report: what is less probable is not painted
const page = byId("study");
const { id } = page.dataset;

function progress(event) {
  if (event.id !== id) return;
  if (event.state !== page.dataset.state) {
    if (event.state === "running") page.dataset.state = event.state;
    else location.reload();
  }
  const bar = byId("progress");
  if (!bar || event.state !== "running") return;
  bar.value = event.progress;
  byId("percent").textContent = `${Math.round(100 * event.progress)} %`;
  byId("state-title").textContent = "Running";
}

async function view(data) {
  const { able, colourMap, Pane, Viewer } = await import("./viewer.js");
  if (!able()) return without("This browser has no WebGL 2, which the viewer needs: the picture below shows the most striking slice.");
  byId("viewer-state").textContent = "Loading the slices …";
  byId("viewer").hidden = false;
  const boxes = data.regions.map(({ box }) => box.map(([k, j, i]) => [k, j / data.step, i / data.step]));
  const viewer = new Viewer(byId("stage"), { depth: data.shape[0], boxes });
  const place = () => boxes[viewer.region ?? 0];
  controls(viewer, place);
  const [, low, high] = data.windows[0] ?? ["", 0, 1];
  const volumes = [{ url: data.volume, colormap: "gray", cal_min: low, cal_max: high, trustCalMinMax: false }];
  if (data.heatmap) volumes.push({ url: data.heatmap, colormap: "suspicion", cal_min: 0, cal_max: 1, opacity: 0.5 });
  const left = await new Pane(byId("left"), { maps: { suspicion: colourMap(data.colours, FAINTEST) } }).open(volumes);
  viewer.window(low, high);
  viewer.at.k = /^#slice-\d+$/.test(location.hash) ? fromHash(location.hash) : data.slice;
  viewer.add(left, true);
  windows(viewer);
  regions(viewer, data.regions);
  probe(viewer, left, data);
  const slider = byId("opacity");
  slider?.addEventListener("input", () => {
    byId("opacity-said").textContent = `${slider.value} %`;
    viewer.opacity(slider.value / 100);
  });
  byId("picture").removeAttribute("open");
  byId("viewer-state").textContent = "";
  if (data.shape.reduce((product, side) => product * side, 1) < MANY) await residual(viewer, data, Pane);
  else byId("residual-range").append(loading(() => residual(viewer, data, Pane)));
  byId("viewer").dataset.ready = "true";
}

/** The button that loads the noise of a large series. */
function loading(load) {
  const button = make("button", { type: "button", className: "quiet", textContent: "Load it" });
  button.addEventListener("click", load, { once: true });
  return button;
}

/** The noise beside the picture, grey where there is none, stretched so that the ordinary noise is seen. */
async function residual(viewer, data, Pane) {
  try {
    const grey = { colormap: "gray", cal_min: 0, cal_max: 255 };
    const right = await new Pane(byId("right")).open([{ url: data.residual, ...grey }]);
    byId("residual-range").textContent = `grey: none; black and white: ${data.spread} standard deviations of this series`;
    viewer.add(right, false);
  } catch (error) {
    byId("residual-range").textContent = `could not be loaded: ${error.message}`;
  }
}

function windows(viewer) {
  const buttons = [...document.querySelectorAll(".window")];
  for (const button of buttons) {
    button.addEventListener("click", () => viewer.window(Number(button.dataset.low), Number(button.dataset.high)));
  }
  viewer.addEventListener("change", () => {
    for (const button of buttons) {
      const same = Number(button.dataset.low) === viewer.low && Number(button.dataset.high) === viewer.high;
      button.setAttribute("aria-pressed", same);
    }
  });
}

function regions(viewer, found) {
  const buttons = [...document.querySelectorAll(".region")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const number = Number(button.dataset.region);
      viewer.region = number;
      viewer.go(found[number].centre[0]);
      viewer.enlarge(viewer.boxes[number]);
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
      byId("stage").scrollIntoView({ block: "nearest" });
      say(`Slice ${found[number].centre[0] + 1}, place ${number + 1} enlarged`);
    });
  }
  if (found.length) viewer.region = 0;
  viewer.draw();
}

/** Row, column and value under the pointer. */
function probe(viewer, pane, { unit, step }) {
  byId("stage").addEventListener("pointermove", (event) => {
    const over = viewer.panes.find((one) => one.canvas.parentElement.contains(event.target));
    const { i, j } = over ? over.under(event.clientX, event.clientY, viewer.at) : {};
    const value = over && pane.value(i, j, viewer.at.k);
    byId("probe").textContent = value === undefined ? "" : `row ${Math.round(j) * step}, column ${Math.round(i) * step}: ${Math.round(value)} ${unit}`;
  });
}

function review() {
  const form = byId("review");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { series, opinion, comment } = Object.fromEntries(new FormData(form));
    await attempt(form, () => call("POST", `/api/v1/studies/${id}/reviews`, { series, opinion, comment }));
    location.hash = "review-title";
    location.reload();
  });
}

function actions() {
  byId("again")?.addEventListener("click", async (event) => {
    await attempt(event.target.parentElement, () => call("POST", `/api/v1/studies/${id}/again`));
    location.reload();
  });
  const dialog = byId("sure");
  byId("delete")?.addEventListener("click", () => dialog.showModal());
  dialog?.addEventListener("close", async () => {
    if (dialog.returnValue !== "delete") return;
    await attempt(byId("delete").parentElement, () => call("DELETE", `/api/v1/studies/${id}`));
    location.href = "/";
  });
}

/** Do what was asked for, or say beside the control why not. */
async function attempt(beside, action) {
  try {
    await action();
  } catch (error) {
    beside.append(make("p", { className: "error", textContent: error.hint ? `${error.message} (${error.hint})` : error.message }));
    say(error.message);
    throw error;
  }
}

review();
actions();
if (["gathering", "waiting", "running"].includes(page.dataset.state)) listen({ study: progress }, () => location.reload());
const data = byId("viewer-data");
if (data) view(JSON.parse(data.textContent)).catch((error) => without(`The viewer could not be started: ${error.message}`));
