// Numbers and text as people read them, and as the formats of emovox have them: the same digits as Python writes.

/** Write a time: 0:03.5, 1:02:03.0. */
export function clock(seconds, digits = 1) {
  const unit = 10 ** digits;
  const whole = Math.round(seconds * unit);
  const hours = Math.floor(whole / (3600 * unit));
  const minutes = Math.floor(whole / (60 * unit)) % 60;
  const rest = ((whole % (60 * unit)) / unit).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Write a length of time in words: 3.5 s, 4 min 20 s, 2 h 5 min. */
export function span(seconds) {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
}

/** Write a size in bytes: 1.2 MB. */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const power = Math.min(3, Math.floor(Math.log10(count) / 3));
  return `${(count / 1000 ** power).toPrecision(3)} ${["", "kB", "MB", "GB"][power]}`;
}

/** Write a number of things: 1 segment, 2 segments. */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** Round half to even, as Python's `round` does. */
export function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 ? floor + 1 : floor;
}

/** Write a number with so many decimals as Python does: a value exactly between two goes to the even digit. */
export function fixed(value, digits) {
  const doubled = value * 2 ** (digits + 1);  // a tie is an odd multiple of a power of two
  if (Number.isInteger(doubled) && doubled % 2) {
    return (roundEven(value * 10 ** digits) / 10 ** digits).toFixed(digits);
  }
  return value.toFixed(digits);
}

/** Write a number with nine significant digits at most, as Python's `.9g` does. */
export function nine(value) {
  if (!value) return "0";
  const exponent = Number(value.toExponential().split("e")[1]);
  const text = fixed(value, Math.max(0, 8 - exponent));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** Write a share: 71%. */
export const percent = (share) => `${roundEven(share * 100)}%`;

/** Name of a file without folder and ending. */
export function stem(file) {
  const name = file.split("/").pop();
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(0, dot) : name;
}

// eslint-disable-next-line no-control-regex
const ORDERS = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
const SHORT = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** One line that may be shown anywhere: what a terminal would obey is escaped. */
export function shown(text) {
  return text.toWellFormed().replace(ORDERS, (one) => {
    const number = one.charCodeAt(0);
    return SHORT[one] ?? (number < 256 ? `\\x${number.toString(16).padStart(2, "0")}` : `\\u${number.toString(16)}`);
  });
}
