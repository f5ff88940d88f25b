// Requests to the service: JSON in and out, the token against forged requests, errors that say what and the way out.

const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

/** What the service answered instead of what was asked for. */
export class Refused extends Error {
  constructor(status, body) {
    const detail = body?.detail ?? body?.error ?? body?.message;
    super(typeof detail === "string" ? detail : (detail?.error ?? `the service answered ${status}`));
    this.status = status;
    this.body = body;
    this.hint = body?.hint ?? detail?.hint ?? "";
  }
}

/** One request. `body` is sent as JSON, or as it is where it is a Blob. */
export async function call(method, url, body) {
  const headers = { "X-CSRF-Token": csrf, Accept: "application/json" };
  let content = body;
  if (body instanceof Blob) headers["Content-Type"] = "application/octet-stream";
  else if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    content = JSON.stringify(body);
  }
  const answer = await fetch(url, { method, headers, body: content, credentials: "same-origin" });
  const text = await answer.text();
  const json = text && answer.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  if (!answer.ok) throw new Refused(answer.status, json);
  return json;
}

/** Events of the service: `handlers` by the event's name; `again` is called when some may have been missed.
 *
 * A browser opens six connections to a host, for all its tabs: one that is hidden lets its own go.
 */
export function listen(handlers, again = () => {}) {
  let source = null;
  let begun = false;
  const open = () => {
    source = new EventSource("/api/v1/events");
    source.addEventListener("open", () => {
      if (begun) again();
      begun = true;
    });
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}
