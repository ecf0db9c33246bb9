import fc from "fast-check";
import { expect, test } from "vitest";
import { terminalText } from "../../../src/support/terminal-text.js";

test.each([
  ["\u001b[1;31mred\u001b[0m", "red"],
  ["\u001b[2J\u001b[10;10Hmoved", "moved"],
  ["\u001b]0;title\u0007text", "text"],
  ["\u001b]8;;http://a\u001b\\link\u001b]8;;\u001b\\", "link"],
  ["\u001bP1$q\u001b\\dcs", "dcs"],
  ["\u009b31mc1 \u009d0;t\u009cosc", "c1 0;tosc"],
  ["\u001bcreset \u001b(Bset", "reset set"],
  ["10%\r20%\r30%", "30%"],
  ["from windows\r", "from windows"],
  ["a\tb\u0000\u0008c\u007f", "a    bc"],
  ["unfinished \u001b[31", "unfinished "],
  ["漢字 é 🙂", "漢字 é 🙂"],
])("%j is shown as %j", (text, shown) => {
  expect(terminalText(text)).toBe(shown);
});

test("nothing that commands a terminal comes through", () => {
  const part = fc.constantFrom(
    "\u001b",
    "[",
    "]",
    "\u009b",
    "\u009d",
    "\u0007",
    "\r",
    "3",
    ";",
    "m",
    "a",
    "\u001b\\",
    "P",
    "\n",
    "é",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
      expect(terminalText(parts.join(""))).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    }),
  );
});
