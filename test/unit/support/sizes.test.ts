import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration } from "../../../src/support/durations.js";
import { formatSize, parseSize } from "../../../src/support/sizes.js";

describe("sizes", () => {
  it("reads Docker's notation with binary units", () => {
    expect(parseSize("512m")).toBe(512 * 2 ** 20);
    expect(parseSize("2g")).toBe(2 * 2 ** 30);
    expect(parseSize("1.5GiB")).toBe(1.5 * 2 ** 30);
    expect(parseSize("64kb")).toBe(65536);
    expect(parseSize("100")).toBe(100);
  });

  it("refuses what is not a size, with a code", () => {
    for (const text of ["", "m", "-1g", "2x", "1e9", "99999999p"]) {
      expect(() => parseSize(text), text).toThrow(expect.objectContaining({ code: "BAD_SIZE" }));
    }
  });

  it("prints three digits in decimal units", () => {
    expect(formatSize(0)).toBe("0B");
    expect(formatSize(999)).toBe("999B");
    expect(formatSize(12_345_678)).toBe("12.3MB");
  });
});

describe("durations", () => {
  it("reads Go's notation in milliseconds", () => {
    expect(parseDuration("1h30m")).toBe(5_400_000);
    expect(parseDuration("1.5s")).toBe(1500);
    expect(parseDuration("300ms")).toBe(300);
    expect(parseDuration("0")).toBe(0);
    expect(parseDuration("30", "s")).toBe(30_000);
  });

  it("refuses a bare number where no unit is implied, and trailing text", () => {
    for (const text of ["30", "10m!", "m", ""]) {
      expect(() => parseDuration(text), text).toThrow(expect.objectContaining({ code: "BAD_DURATION" }));
    }
  });

  it("prints for people", () => {
    expect(formatDuration(850)).toBe("850ms");
    expect(formatDuration(2400)).toBe("2.4s");
    expect(formatDuration(192_000)).toBe("3m12s");
    expect(formatDuration(5 * 3_600_000 + 120_000)).toBe("5h02m");
  });
});
