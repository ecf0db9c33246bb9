import { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { connectQmp } from "../../../src/vmm/qmp.js";

/** An end of a connection whose other end answers each command with `answer`. */
function fakeQemu(answer: (command: { execute: string; id: number }) => unknown): Duplex {
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      const reply = JSON.stringify(answer(JSON.parse(chunk.toString())));
      // Split anywhere, an event in between: lines are what counts.
      socket.push(`{"event": "RESUME", "data": {}}\n${reply.slice(0, 7)}`);
      setImmediate(() => socket.push(`${reply.slice(7)}\n`));
      done();
    },
  });
  socket.push('{"QMP": {"version": {}, "capabilities": []}}\n');
  return socket;
}

test("commands are answered by their ids, refusals are errors", async () => {
  const seen: string[] = [];
  const qmp = await connectQmp(
    fakeQemu(({ execute, id }) => {
      seen.push(execute);
      return execute === "bad" ? { id, error: { class: "GenericError", desc: "no such thing" } } : { id, return: {} };
    }),
  );
  expect(await qmp.execute("stop")).toEqual({});
  await expect(qmp.execute("bad")).rejects.toThrow("no such thing");
  expect(seen).toEqual(["qmp_capabilities", "stop", "bad"]);
});

test("the end of the connection ends what waits and what comes later", async () => {
  const socket = fakeQemu(({ execute, id }) => (execute === "stop" ? {} : { id, return: {} }));
  const qmp = await connectQmp(socket);
  const waiting = expect(qmp.execute("stop")).rejects.toMatchObject({ code: "VMM_FAILED" });
  socket.destroy();
  await waiting;
  await expect(qmp.execute("cont")).rejects.toMatchObject({ code: "VMM_FAILED" });
});
