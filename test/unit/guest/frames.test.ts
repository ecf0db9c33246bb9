import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fields, FieldWriter, MalformedMessage } from "../../../src/guest/fields.js";
import { encodeFrame, encodeMessage, FrameReader, MAX_PAYLOAD, ToGuest } from "../../../src/guest/frames.js";

describe("frames", () => {
  test("come out whole however the bytes were cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ stream: fc.nat(), payload: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map((f) => encodeFrame(0x83, 1, f.stream, f.payload)));
          const reader = new FrameReader();
          const seen: { stream: number; payload: Uint8Array }[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const end = at + cuts[i % cuts.length]!;
            for (const f of reader.push(bytes.subarray(at, end)))
              seen.push({ stream: f.stream, payload: Uint8Array.from(f.payload) });
            at = end;
          }
          expect(seen).toEqual(frames);
        },
      ),
    );
  });

  test("that claim more than the limit are refused before anything is collected", () => {
    const header = Buffer.from(encodeFrame(0x83, 1, 1, new Uint8Array()));
    header.writeUInt32LE(MAX_PAYLOAD + 1, 8);
    expect(() => [...new FrameReader().push(header)]).toThrow(MalformedMessage);
  });

  test("carry a long message in continued pieces", () => {
    const frames = encodeMessage(ToGuest.boot, 1, Buffer.alloc(MAX_PAYLOAD * 2 + 5));
    expect(frames.map((frame) => [frame[1], frame.length - 12])).toEqual([
      [1, MAX_PAYLOAD],
      [1, MAX_PAYLOAD],
      [0, 5],
    ]);
  });
});

describe("fields", () => {
  test("of arbitrary bytes are read or refused, never anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          new Fields(Buffer.from(bytes)).text(1);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessage);
        }
      }),
    );
  });

  test("keep control characters of a guest from the terminal", () => {
    const payload = new FieldWriter().text(3, "bad\x1b[2Jname\n").finish();
    expect(new Fields(payload).text(3)).toBe("bad\uFFFD[2Jname\n");
  });
});
