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
    ["u+s,g+s,+t", 0o755, false, 0o7755],
  ])("%s of %o", (text, mode, directory, expected) => {
    expect(parseMode(text).apply(mode, directory).toString(8)).toBe(expected.toString(8));
  });

  it.each(["", "8", "u", "u+q", "77777", "u:x"])("refuses %j", (text) => {
    expect(() => parseMode(text)).toThrow(expect.objectContaining({ code: "BAD_MODE" }));
  });
});
