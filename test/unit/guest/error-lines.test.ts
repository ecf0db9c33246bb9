import { expect, test } from "vitest";
import { errorOfLine } from "../../../src/guest/error-lines.js";

test.each([
  ["plain text is the error itself", "boom", undefined, "boom"],
  ["a field at the top", '{"error":"boom"}', "error", "boom"],
  ["a dotted path", '{"a":{"b":"boom"}}', "a.b", "boom"],
  [
    "a field anywhere below",
    '{"message":{"stopReason":"error","errorMessage":"Connection error."}}',
    "errorMessage",
    "Connection error.",
  ],
  ["an error object by its message", '{"error":{"message":"boom","code":5}}', "error", "boom"],
  ["no field, no error", '{"ok":true}', "error", undefined],
  ["an empty field is none", '{"error":""}', "error", undefined],
  ["null is none", '{"error":null}', "error", undefined],
  ["not JSON", "{", "error", undefined],
  ["deeper than anybody logs", `${'{"a":'.repeat(2000)}{"error":"x"}${"}".repeat(2000)}`, "error", undefined],
])("the error of a log line: %s", (_what, line, field, expected) => {
  expect(errorOfLine(line, field)).toBe(expected);
});
