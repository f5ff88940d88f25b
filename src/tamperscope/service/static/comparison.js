// Two versions of a study and what differs between them.
import { byId } from "./dom.js";
import { call } from "./http.js";
import { controls, without } from "./controls.js";

// Blue over black to orange, which readers with any colour vision tell apart.
const DIFFERENCE = { R: [150, 40, 0, 215, 255], G: [205, 120, 0, 110, 215], B: [255, 230, 0, 10, 140], A: [255, 255, 255, 255, 255], I: [0, 64, 128, 192, 255] };
const page = byId("comparison");

async function view(data) {
  const { able, Pane, Viewer } = await import("./viewer.js");
  if (!able()) return without("This browser has no WebGL 2, which the viewer needs.");
  byId("viewer-state").textContent = "Loading the slices …";
  byId("viewer").hidden = false;
  const box = data.box?.map(([k, j, i]) => [k, j / data.step, i / data.step]);
  const viewer = new Viewer(byId("stage"), { depth: data.depth, boxes: box ? [box] : [] });
  viewer.region = 0;
  controls(viewer, () => box);
  viewer.at.k = data.slice;
  for (const name of ["before", "after"]) {
    const pane = await new Pane(byId(name)).open([{ url: data[name], colormap: "gray" }]);
    if (!viewer.panes.length) viewer.window(pane.niivue.volumes[0].cal_min, pane.niivue.volumes[0].cal_max);
    viewer.add(pane, true);
  }
  const difference = await new Pane(byId("difference"), { maps: { difference: DIFFERENCE } }).open([{ url: data.difference, colormap: "difference" }]);
  const most = Math.max(data.largest / 2, 1e-6); // half of the largest is full colour, so that smaller ones are seen
  difference.window(-most, most);
  viewer.add(difference, false);
  byId("viewer-state").textContent = "";
  byId("viewer").dataset.ready = "true";
}

/** Ask until the comparison has ended: it takes seconds, and has no events of its own. */
async function wait() {
  const { state } = await call("GET", `/api/v1/comparisons/${page.dataset.id}`);
  if (state === "done" || state === "failed") location.reload();
  else setTimeout(wait, 1000);
}

if (!["done", "failed"].includes(page.dataset.state)) wait();
const data = byId("viewer-data");
if (data) view(JSON.parse(data.textContent)).catch((error) => without(`The viewer could not be started: ${error.message}`));
