// Small things that several pages need.

/** An element by its id. */
export const byId = (id) => document.getElementById(id);

/** Say something to those who listen rather than look. */
export function say(text) {
  byId("said").textContent = text;
}

/** An element with properties and children; text is text, never markup. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Times below `root` in the reader's own time zone and manner. */
export function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = time.textContent;
    time.textContent = moment.format(new Date(time.dateTime));
  }
}

/** Seconds since 1970 as a text. */
export const timeText = (seconds) => (seconds == null ? "–" : moment.format(new Date(seconds * 1000)));

/** Bytes in decimal units. */
export function bytesText(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; count >= 1000 && unit < units.length - 1; unit++) count /= 1000;
  return `${unit ? count.toPrecision(3) : count} ${units[unit]}`;
}
