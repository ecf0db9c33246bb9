import { describe, expect, it } from "vitest";
import { parseMode } from "../../../src/build/tree/chmod.js";

describe("--chmod", () => {
  it.each([
    ["755", 0o644, false, 0o755],
    ["4711", 0o644, false, 0o4711],
    ["u+x", 0o644, false, 0o744],
    ["+x", 0o644, false, 0o755],
    ["go-rwx", 0o755, false, 0o700],
    ["a=rX", 0o644, false, 0o444],
    ["a=rX", 0o700, true, 0o555],
    ["u=rwX,go=rX", 0o600, true, 0o755],
    ["g=u", 0o750, false, 0o770],
    ["u=g,g=o", 0o6755, false, 0o6555],
    ["a=", 0o2775, true, 0],
    ["u+t", 0o644, false, 0o1644],
    ["o+t", 0o644, false, 0o644],
    ["=t", 0o644, false, 0o1644],
    ["u-x,a+X", 0o700, false, 0o711],
    ["000644", 0o755, false, 0o644],
    ["u+s,g+s,+t", 0o755, false, 0o7755],
  ])("%s of %o", (text, mode, directory, expected) => {
    expect(parseMode(text).apply(mode, directory).toString(8)).toBe(expected.toString(8));
  });

  it.each(["", "8", "u", "u+q", "77777", "u:x"])("refuses %j", (text) => {
    expect(() => parseMode(text)).toThrow(expect.objectContaining({ code: "BAD_MODE" }));
  });
});
