import { readdir } from "node:fs/promises";
import { beforeEach, expect, test } from "vitest";
import { type LogLine, openLogWriter, type ReadLogOptions, readLog } from "../../../src/instance/log.js";
import { encodeFrame, encodeMessage, FrameDecoder } from "../../../src/instance/wire.js";
import { scratchDirectory } from "../../helpers/scratch.js";

const scratch = scratchDirectory();
let file: string;
beforeEach(async () => {
  file = scratch("log.jsonl");
});

async function texts(options?: ReadLogOptions): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const line of readLog(file, options)) lines.push(line.text);
  return lines;
}

test("output in any chunks comes back as lines with stream and time, redacted", async () => {
  const log = openLogWriter(file, (text) => text.replaceAll("hunter2", "***"));
  log.write("stdout", Buffer.from("one\ntw"));
  log.write("stderr", Buffer.from("err hun"));
  log.write("stdout", Buffer.from("o\n\n"));
  log.write("stderr", Buffer.from("ter2 \u00e4".slice(0, -1)));
  log.write("stderr", Buffer.from("ä").subarray(0, 1));
  log.write("stderr", Buffer.from("ä").subarray(1));
  log.flush();
  log.say("done");
  log.close();
  const lines: LogLine[] = [];
  for await (const line of readLog(file)) lines.push(line);
  expect(lines.map(({ stream, text, partial }) => [stream, text, partial ?? false])).toEqual([
    ["stdout", "one", false],
    ["stdout", "two", false],
    ["stdout", "", false],
    ["stderr", "err *** ä", true],
    ["aegis", "done", false],
  ]);
  expect(Date.parse(lines[0]!.time)).toBeLessThanOrEqual(Date.now());
});

test("tail, since and until choose lines; no log is no lines", async () => {
  expect(await texts()).toEqual([]);
  const log = openLogWriter(file, (text) => text);
  for (let i = 0; i < 5; i++) log.say(`line ${i}`);
  log.close();
  expect(await texts({ tail: 2 })).toEqual(["line 3", "line 4"]);
  expect(await texts({ tail: 0 })).toEqual([]);
  expect(await texts({ since: Date.now() + 60_000 })).toEqual([]);
  expect(await texts({ until: Date.now() + 60_000, tail: 1 })).toEqual(["line 4"]);
});

test("following ends when the writer is gone and everything has been read", async () => {
  const log = openLogWriter(file, (text) => text);
  log.say("before");
  let rounds = 0;
  const seen = await texts({
    follow: async () => {
      rounds++;
      if (rounds <= 3) log.say(`round ${rounds}`);
      return rounds < 3;
    },
  });
  log.close();
  expect(seen).toEqual(["before", "round 1", "round 2", "round 3", "round 4"].slice(0, seen.length));
  expect(seen.slice(0, 4)).toEqual(["before", "round 1", "round 2", "round 3"]);
});

test("a log that has grown is rotated, and reading goes on across the files", async () => {
  const log = openLogWriter(file, (text) => text);
  const long = "x".repeat(15 << 10);
  for (let i = 0; i < 1200; i++) log.write("stdout", Buffer.from(`${i} ${long}\n`));
  log.close();
  expect((await readdir(scratch())).sort()).toEqual(["log.1.jsonl", "log.jsonl"]);
  const seen = await texts();
  expect(seen.map((text) => Number(text.split(" ")[0]))).toEqual(Array.from({ length: 1200 }, (_, i) => i));
});

test("frames survive any division into chunks, and absurd lengths are refused", () => {
  const bytes = Buffer.concat([
    encodeMessage({ op: "x" }),
    encodeFrame(2, Buffer.from("hello")),
    encodeFrame(1, Buffer.alloc(0)),
  ]);
  for (const size of [1, 3, 7, bytes.length]) {
    const decoder = new FrameDecoder();
    const frames = [];
    for (let at = 0; at < bytes.length; at += size) frames.push(...decoder.push(bytes.subarray(at, at + size)));
    expect(frames.map(({ channel, payload }) => [channel, payload.toString()])).toEqual([
      [0, '{"op":"x"}'],
      [2, "hello"],
      [1, ""],
    ]);
  }
  expect(() => [...new FrameDecoder().push(Buffer.from([0xff, 0, 0, 0, 0]))]).toThrow(/frame/);
});
