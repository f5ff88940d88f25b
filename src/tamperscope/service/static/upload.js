// Dropped files go up in pieces, four files at a time; what was interrupted goes on where it stopped.
import { bytesText, byId, make, say } from "./dom.js";
import { call, Refused } from "./http.js";

const PIECE = 8 * 1024 * 1024; // the most that one request may carry
const AT_ONCE = 4;
const TRIES = 6; // of a piece, when the connection fails; waits 1, 2, 4 ... seconds in between
const KEPT = "uploads"; // in localStorage: the uploads that are open, by what is in them

/** Make the drop zone work. `found` is called with the numbers of the studies of an upload that was read. */
export function zone(found) {
  const drop = byId("drop");
  if (!drop) return { event() {} };
  const running = new Map();
  const begin = (files) => start(files, running, found).catch((error) => failed(null, error));
  // The whole page takes files: what misses the zone by a finger's breadth must not replace the page.
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? drop.classList.remove("over"));
  addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    begin(await dropped(event.dataTransfer));
  });
  for (const id of ["files", "folder"]) {
    byId(id).addEventListener("change", (event) => {
      begin([...event.target.files].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
      event.target.value = "";
    });
  }
  for (const [key, id] of Object.entries(kept())) remembered(key, id, running, found);
  return { event: (upload) => running.get(upload.id)?.(upload) };
}

/** An upload that another visit to this page began. */
async function remembered(key, id, running, found) {
  let upload;
  try {
    upload = await call("GET", `/api/v1/uploads/${id}`);
  } catch (error) {
    if (error instanceof Refused) forget(key);
    return;
  }
  const shown = line(upload.name);
  running.set(id, (event) => ended(event, shown, key, running, found));
  shown.cancel.addEventListener("click", async () => {
    forget(key);
    shown.item.remove();
    await call("DELETE", `/api/v1/uploads/${id}`);
  });
  if (upload.state === "open") {
    const gone = upload.files.reduce((sum, one) => sum + one.received, 0);
    shown.item.id = `open-${id}`;
    shown.bar.value = upload.bytes ? gone / upload.bytes : 0;
    shown.text.textContent = `Interrupted at ${bytesText(gone)} of ${bytesText(upload.bytes)}: drop the same files again.`;
    return;
  }
  shown.cancel.hidden = true;
  shown.bar.removeAttribute("value");
  shown.text.textContent = "Reading what is in it …";
  running.get(id)(upload);
}

/** The files of a drop with their paths, folders and all that is below them. */
async function dropped(transfer) {
  const files = [];
  // All of them before the first wait: afterwards the browser has forgotten what was dropped.
  const items = [...transfer.items].map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  for (const { entry, file: plain } of items) {
    if (entry) await walk(entry, "", files);
    else if (plain) files.push({ name: plain.name, file: plain });
  }
  return files;
}

async function walk(entry, folder, files) {
  const name = folder + entry.name;
  if (entry.isFile) {
    files.push({ name, file: await new Promise((good, bad) => entry.file(good, bad)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) return;
    for (const one of some) await walk(one, `${name}/`, files);
  }
}

async function start(files, running, found) {
  if (!files.length) return;
  const title = files[0].name.includes("/") ? files[0].name.split("/")[0] : files[0].name;
  const shown = line(files.length > 1 && !files[0].name.includes("/") ? `${title} and ${files.length - 1} more` : title);
  const stop = new AbortController();
  const key = await fingerprint(files);
  let upload;
  shown.cancel.addEventListener("click", async () => {
    stop.abort();
    forget(key);
    shown.item.remove();
    if (upload) await call("DELETE", `/api/v1/uploads/${upload.id}`);
  });
  try {
    upload = await opened(key, title, files);
    running.set(upload.id, (event) => ended(event, shown, key, running, found));
    await send(upload, files, shown, stop.signal);
    if (stop.signal.aborted) return;
    await call("POST", `/api/v1/uploads/${upload.id}/complete`);
    shown.cancel.hidden = true;
    shown.text.textContent = "Reading what is in it …";
    shown.bar.removeAttribute("value");
    // The event may have come before this page listened for it.
    running.get(upload.id)?.(await call("GET", `/api/v1/uploads/${upload.id}`));
  } catch (error) {
    if (stop.signal.aborted) return;
    failed(shown, error);
    const again = make("button", { type: "button", className: "quiet", textContent: "Go on" });
    again.addEventListener("click", () => {
      shown.item.remove();
      start(files, running, found);
    });
    shown.row.append(again);
  }
}

/** The upload of these files: the one that was interrupted, if the service still has it, else a new one. */
async function opened(key, name, files) {
  const id = kept()[key];
  if (id) {
    try {
      const upload = await call("GET", `/api/v1/uploads/${id}`);
      if (upload.state === "open") {
        byId(`open-${id}`)?.remove();
        return upload;
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    forget(key);
  }
  const stated = files.map(({ name: path, file }) => ({ name: path, bytes: file.size }));
  const upload = await call("POST", "/api/v1/uploads", { name, files: stated });
  localStorage.setItem(KEPT, JSON.stringify({ ...kept(), [key]: upload.id }));
  return upload;
}

async function send(upload, files, shown, signal) {
  const all = files.reduce((sum, { file }) => sum + file.size, 0);
  const byName = new Map(files.map(({ name, file }) => [name, file]));
  let gone = upload.files.reduce((sum, one) => sum + one.received, 0);
  const progress = () => {
    shown.bar.value = all ? gone / all : 1;
    shown.text.textContent = `${bytesText(gone)} of ${bytesText(all)}`;
  };
  progress();
  const waiting = upload.files.filter((one) => one.received < one.bytes);
  const worker = async () => {
    for (let one = waiting.shift(); one && !signal.aborted; one = waiting.shift()) {
      await file(upload.id, one, byName.get(one.name) ?? files[one.number].file, signal, (more) => {
        gone += more;
        progress();
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** What is missing of one file. */
async function file(id, one, blob, signal, sent) {
  let offset = one.received;
  let tries = 0;
  while (offset < one.bytes && !signal.aborted) {
    const url = `/api/v1/uploads/${id}/files/${one.number}?offset=${offset}`;
    try {
      const { received } = await call("PATCH", url, blob.slice(offset, offset + PIECE));
      sent(received - offset);
      offset = received;
      tries = 0;
    } catch (error) {
      if (error instanceof Refused && error.status === 409 && error.body?.received !== undefined) {
        sent(error.body.received - offset);
        offset = error.body.received;
      } else if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
      else if (++tries === TRIES) throw error;
      else await new Promise((good) => setTimeout(good, 1000 * 2 ** (tries - 1)));
    }
  }
}

/** The service has read an upload, or could not. */
function ended(upload, shown, key, running, found) {
  if (upload.state !== "read" && upload.state !== "failed") return;
  running.delete(upload.id);
  forget(key);
  shown.bar.hidden = true;
  shown.cancel.hidden = true;
  const { studies = [], failed: broken = [], skipped_count: skipped = 0 } = upload.result ?? upload;
  const counted = studies.length === 1 ? "1 study" : `${studies.length} studies`;
  shown.text.textContent = upload.state === "failed" ? "It could not be read." : `${counted} found.`;
  if (skipped) shown.text.textContent += ` ${skipped} ${skipped === 1 ? "object is" : "objects are"} no image to examine.`;
  const links = studies.map((id, k) => make("a", { href: `/studies/${id}`, textContent: studies.length === 1 ? "Open it" : `Study ${k + 1}` }));
  shown.row.append(...links.slice(0, 12));
  if (links.length > 12) shown.row.append(make("a", { href: `/?upload=${upload.id}`, textContent: "All of them" }));
  for (const one of broken.slice(0, 20)) shown.item.append(trouble(`${one.source}: ${one.error}`, one.hint));
  if (upload.error) shown.item.append(trouble(upload.error, upload.hint));
  shown.row.append(closing(shown.item));
  found(studies);
}

function failed(shown, error) {
  const place = shown ?? line("These files");
  place.text.textContent = "";
  place.bar.hidden = true;
  place.item.append(trouble(error.message, error.hint ?? ""));
}

/** One upload in the list, with what can be done about it. */
function line(title) {
  const bar = make("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-label", `Upload of ${title}`);
  const text = make("span", { className: "soft" });
  const cancel = make("button", { type: "button", className: "quiet", textContent: "Cancel" });
  const row = make("div", { className: "line" }, make("b", { textContent: title }), text, cancel);
  const item = make("li", {}, row, bar);
  byId("uploads").append(item);
  return { item, row, bar, text, cancel };
}

function trouble(text, hint) {
  const element = make("p", { className: "error", textContent: text });
  if (hint) element.append(make("span", { className: "soft", textContent: ` (${hint})` }));
  say(text);
  return element;
}

function closing(item) {
  const button = make("button", { type: "button", className: "quiet", textContent: "Clear" });
  button.addEventListener("click", () => item.remove());
  return button;
}

const kept = () => JSON.parse(localStorage.getItem(KEPT) ?? "{}");

function forget(key) {
  const all = kept();
  delete all[key];
  localStorage.setItem(KEPT, JSON.stringify(all));
}

/** Names, sizes and times of files as a digest: the storage of the browser then holds no names. */
async function fingerprint(files) {
  const text = files.map(({ name, file: one }) => `${name}\n${one.size}\n${one.lastModified}`).sort().join("\n");
  let hash = 0xcbf29ce484222325n; // FNV-1a, 64 bits: crypto.subtle is missing on plain HTTP
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16);
}
