// Panes of niivue side by side that always show the same part of the same slice.
//
// The volumes come with the affine diag(-x, -y, z): voxel (i, j, k) is column, row and slice, column 0 at the left and
// row 0 at the top. All that is moved is moved here, so that every pane, mark and control agrees.
import { Niivue, SLICE_TYPE } from "./vendor/niivue.js";

const MOST = 16; // times enlarged

/** Whether this browser can show volumes at all. */
export function able() {
  return Boolean(document.createElement("canvas").getContext("webgl2"));
}

/** Anchors "#rrggbb", evenly spaced, as a colour map in which all below `faintest` (of 1) is clear. */
export function colourMap(anchors, faintest) {
  const border = Math.round(255 * faintest);
  const shades = Array.from({ length: 256 }, (_, value) => {
    const at = (value * (anchors.length - 1)) / 255;
    const low = Math.min(Math.floor(at), anchors.length - 2);
    return [1, 3, 5].map((place) => {
      const [a, b] = [anchors[low], anchors[low + 1]].map((colour) => parseInt(colour.slice(place, place + 2), 16));
      return Math.round(a + (b - a) * (at - low));
    });
  });
  const [R, G, B] = [0, 1, 2].map((channel) => shades.map((shade) => shade[channel]));
  return { R, G, B, A: shades.map((_, value) => (value < border ? 0 : 255)), I: shades.map((_, value) => value) };
}

/**
 * Let niivue compute one pixel of the gradient that its 3D rendering is lit by, which this page does not have: without
 * a graphics card it takes seconds, and again for every change of the window.
 */
function withoutGradient(niivue) {
  const shader = niivue.blurShader;
  const use = shader?.use.bind(shader);
  if (!use) return;
  shader.use = (gl) => {
    use(gl);
    gl.viewport(0, 0, 1, 1);
  };
}

/** One canvas with its volumes and marks. */
export class Pane {
  constructor(canvas, { maps = {} } = {}) {
    this.canvas = canvas;
    this.marks = canvas.parentElement.querySelector(".marks");
    this.niivue = new Niivue({
      interactive: false,
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      isSliceMM: true,
      isOrientationTextVisible: false,
      isColorbar: false,
      isNearestInterpolation: true,
      crosshairWidth: 0,
      backColor: [0, 0, 0, 1],
      logLevel: "error",
      loadingText: "",
    });
    for (const [name, map] of Object.entries(maps)) this.niivue.addColormap(name, map);
  }

  /** Load volumes; the first is the picture, the others lie over it. */
  async open(volumes) {
    if (!this.niivue.canvas) {
      await this.niivue.attachToCanvas(this.canvas, false);
      this.niivue.setSliceType(SLICE_TYPE.AXIAL);
      withoutGradient(this.niivue);
    }
    await this.niivue.loadVolumes(volumes);
    const [, columns, rows, slices] = this.niivue.volumes[0].hdr.dims;
    const [, x, y, z] = this.niivue.volumes[0].hdr.pixDims;
    this.grid = { columns, rows, slices, x, y, z };
    return this;
  }

  /** Values of the picture that are black and white. */
  window(low, high) {
    const [picture] = this.niivue.volumes;
    if (picture.cal_min === low && picture.cal_max === high) return;
    picture.cal_min = low;
    picture.cal_max = high;
    this.niivue.refreshLayers(picture, 0); // this layer alone: the heat map stays as it is
  }

  /** How much the heat map covers, 0 to 1. */
  opacity(value) {
    const [, heat] = this.niivue.volumes;
    if (!heat || heat.opacity === value) return;
    heat.opacity = value;
    this.niivue.refreshLayers(heat, 1);
  }

  /** Show slice `k`, enlarged `zoom` times round column `i` and row `j`, with boxes marked. */
  show({ k, i, j, zoom }, boxes) {
    const { columns, rows, x, y, z } = this.grid;
    const middle = [(-x * (columns - 1)) / 2, (-y * (rows - 1)) / 2];
    this.niivue.scene.crosshairPos = this.niivue.mm2frac([-x * i, -y * j, z * k], 0, true);
    // niivue shows (field - pan) / zoom, so that pan = middle - target * zoom puts the target into the middle.
    this.niivue.scene.pan2Dxyzmm = [middle[0] + x * i * zoom, middle[1] + y * j * zoom, 0, zoom];
    this.niivue.drawScene();
    this.marks.replaceChildren(...boxes.map((box) => this.#mark(box, { i, j, zoom })));
  }

  /** Pixels of the page for a voxel's width and height, at this enlargement. */
  scale(zoom) {
    const { columns, rows, x, y } = this.grid;
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    const perMm = Math.min(width / (columns * x), height / (rows * y)) * zoom;
    return { across: x * perMm, down: y * perMm, width, height };
  }

  /** Column and row under a place of the page. */
  under(clientX, clientY, { i, j, zoom }) {
    const { across, down, width, height } = this.scale(zoom);
    const { left, top } = this.canvas.parentElement.getBoundingClientRect();
    return { i: i + (clientX - left - width / 2) / across, j: j + (clientY - top - height / 2) / down };
  }

  /** The value of the picture at a voxel; undefined outside. */
  value(i, j, k) {
    const { columns, rows } = this.grid;
    const [column, row] = [Math.round(i), Math.round(j)];
    if (column < 0 || row < 0 || column >= columns || row >= rows) return undefined;
    const [picture] = this.niivue.volumes;
    return picture.img[column + columns * (row + rows * k)] * picture.hdr.scl_slope + picture.hdr.scl_inter;
  }

  #mark({ box: [first, last], chosen }, { i, j, zoom }) {
    const { across, down, width, height } = this.scale(zoom);
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    rect.setAttribute("x", width / 2 + (first[2] - 0.5 - i) * across);
    rect.setAttribute("y", height / 2 + (first[1] - 0.5 - j) * down);
    rect.setAttribute("width", (last[2] - first[2] + 1) * across);
    rect.setAttribute("height", (last[1] - first[1] + 1) * down);
    if (!chosen) rect.setAttribute("class", "other");
    return rect;
  }
}

/** All panes of a page: what they show, and what moves them. Sends "change" when anything of it changed. */
export class Viewer extends EventTarget {
  constructor(stage, { depth, boxes }) {
    super();
    Object.assign(this, { stage, depth, boxes, panes: [], windowed: [], region: null, low: 0, high: 1 });
    this.at = { k: 0, i: 0, j: 0, zoom: 1 };
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#drag(event));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  /** Take part in what is shown; `windowed` panes follow brightness and contrast. */
  add(pane, windowed) {
    this.panes.push(pane);
    if (windowed) this.windowed.push(pane);
    if (this.panes.length === 1) this.whole();
    if (windowed && this.low < this.high) pane.window(this.low, this.high);
    this.draw();
  }

  /** Slice `k`, counted from 0. */
  go(k) {
    this.at.k = Math.min(Math.max(k, 0), this.depth - 1);
    this.draw();
  }

  window(low, high) {
    [this.low, this.high] = [low, Math.max(high, low + 1e-6)];
    this.#soon();
  }

  opacity(value) {
    this.covered = value;
    this.#soon();
  }

  /** Once a frame, however fast a pointer moves: colours of a whole volume are made anew. */
  #soon() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      for (const pane of this.windowed) {
        pane.window(this.low, this.high);
        if (this.covered !== undefined) pane.opacity(this.covered);
      }
      this.draw();
    });
  }

  /** The whole slice. */
  whole() {
    const { columns, rows } = this.panes[0].grid;
    this.#look((columns - 1) / 2, (rows - 1) / 2, 1);
  }

  /** A box large in all panes, with three times its size around it. */
  enlarge([first, last]) {
    const { columns, rows } = this.panes[0].grid;
    const side = Math.max(last[1] - first[1] + 1, last[2] - first[2] + 1, 16);
    this.#look((first[2] + last[2]) / 2, (first[1] + last[1]) / 2, Math.max(columns, rows) / (2.5 * side));
  }

  draw() {
    const boxes = this.boxes
      .map((box, number) => ({ box, chosen: number === this.region }))
      .filter(({ box }) => box[0][0] <= this.at.k && this.at.k <= box[1][0]);
    for (const pane of this.panes) pane.show(this.at, boxes);
    this.dispatchEvent(new Event("change"));
  }

  #look(i, j, zoom) {
    Object.assign(this.at, { i, j, zoom: Math.min(Math.max(zoom, 1), MOST) });
    this.draw();
  }

  #zoom(factor, place = this.at) {
    const zoom = Math.min(Math.max(this.at.zoom * factor, 1), MOST);
    const kept = this.at.zoom / zoom; // what is under the pointer stays there
    if (zoom === 1) this.whole();
    else this.#look(place.i + (this.at.i - place.i) * kept, place.j + (this.at.j - place.j) * kept, zoom);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target !== this.stage) return;
    const { k } = this.at;
    const moves = {
      ArrowDown: () => this.go(k + 1),
      ArrowRight: () => this.go(k + 1),
      ArrowUp: () => this.go(k - 1),
      ArrowLeft: () => this.go(k - 1),
      PageDown: () => this.go(k + 10),
      PageUp: () => this.go(k - 10),
      Home: () => this.go(0),
      End: () => this.go(this.depth - 1),
      "+": () => this.#zoom(1.25),
      "=": () => this.#zoom(1.25),
      "-": () => this.#zoom(0.8),
      0: () => this.whole(),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }

  #wheel(event) {
    const pane = this.#paneOf(event);
    if (!pane) return;
    event.preventDefault();
    if (event.ctrlKey) this.#zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, pane.under(event.clientX, event.clientY, this.at));
    else if (event.deltaY) this.go(this.at.k + Math.sign(event.deltaY));
  }

  #drag(event) {
    const pane = this.#paneOf(event);
    if (!pane || event.pointerType === "touch") return; // a finger scrolls the page
    const begun = { x: event.clientX, y: event.clientY, ...this.at, low: this.low, high: this.high };
    const contrast = event.button === 2 || event.shiftKey;
    const move = (now) => {
      const [x, y] = [now.clientX - begun.x, now.clientY - begun.y];
      if (contrast) return this.#contrast(begun, x, y);
      const { across, down } = pane.scale(this.at.zoom);
      return this.at.zoom > 1 && this.#look(begun.i - x / across, begun.j - y / down, this.at.zoom);
    };
    this.stage.setPointerCapture(event.pointerId);
    this.stage.addEventListener("pointermove", move);
    const stop = () => this.stage.removeEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", stop, { once: true });
    this.stage.addEventListener("pointercancel", stop, { once: true });
  }

  /** As at a workstation: across changes the width of the window, down its centre; 300 pixels double or halve it. */
  #contrast({ low, high }, x, y) {
    const width = (high - low) * 2 ** (x / 300);
    const centre = (low + high) / 2 + ((high - low) * y) / 300;
    this.window(centre - width / 2, centre + width / 2);
  }

  #paneOf(event) {
    return this.panes.find((pane) => pane.canvas.parentElement.contains(event.target));
  }
}
