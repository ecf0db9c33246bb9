import { AegisError } from "./errors.js";

const units: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
};

/**
 * Bytes of a size as Docker writes them: `512m`, `2g`, `1.5GiB`, `64kb`; units are binary and case-insensitive.
 * @throws AegisError BAD_SIZE
 */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?\s*$/i.exec(text);
  const bytes = match ? Math.floor(Number(match[1]) * (units[match[2]!.toLowerCase()] ?? Number.NaN)) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new AegisError("BAD_SIZE", `"${text}" is not a size`, {
      hint: "write a number with a unit, like 512m or 2g",
    });
  }
  return bytes;
}

/** Bytes for people, three significant digits, decimal units as Docker prints them: `12.3MB`. */
export function formatSize(bytes: number): string {
  const names = ["B", "kB", "MB", "GB", "TB", "PB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < names.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))}${names[unit]}`;
}
