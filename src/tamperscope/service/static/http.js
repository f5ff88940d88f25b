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
  if (!answer.ok) throw new Refused(answer.status, json);
  return json;
}

/** Events of the service: `handlers` by the event's name. The browser connects again by itself. */
export function listen(handlers) {
  const source = new EventSource("/api/v1/events");
  for (const [name, handler] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  }
  addEventListener("pagehide", () => source.close());
  return source;
}
