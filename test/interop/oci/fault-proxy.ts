/** Stands between a client and a registry, writes down every request, and misbehaves on demand. */
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import { close, listen } from "./registry-server.js";

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

export type Fault =
  | { readonly kind: "pass" }
  /** Answers itself. */
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** Passes the answer on and breaks the connection after so many bytes of body. */
  | { readonly kind: "cut"; readonly after: number }
  /** Breaks the connection after so many bytes of the request's body. */
  | { readonly kind: "cut-upload"; readonly after: number }
  /** Changes a byte of the body. */
  | { readonly kind: "corrupt" }
  /** Adds bytes to the body, without an announced length. */
  | { readonly kind: "lengthen" }
  /** Passes the request on only then. */
  | { readonly kind: "hold"; readonly until: Promise<void> }
  /** Sends the head and then nothing more. */
  | { readonly kind: "stall" }
  /** Sends a byte now and then. */
  | { readonly kind: "drip"; readonly everyMs: number };

export interface FaultProxy extends AsyncDisposable {
  readonly host: string;
  readonly seen: SeenRequest[];
  /** Decides about each request; everything passes unless set. */
  decide: (request: SeenRequest) => Fault;
  count(method: string, part: string): number;
}

export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const it = { method: request.method!, path: request.url!, headers: request.headers };
    seen.push(it);
    handle(target, request, response, proxy.decide(it));
  });
  const port = await listen(server);
  const proxy: FaultProxy = {
    host: `127.0.0.1:${port}`,
    seen,
    decide: () => ({ kind: "pass" }),
    count: (method, part) => seen.filter((it) => it.method === method && it.path.includes(part)).length,
    [Symbol.asyncDispose]: () => close(server),
  };
  return proxy;
}

function handle(target: string, request: IncomingMessage, response: ServerResponse, fault: Fault): void {
  if (fault.kind === "status") {
    request.resume();
    response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
    return;
  }
  if (fault.kind === "hold") {
    void fault.until.then(() => handle(target, request, response, { kind: "pass" }));
    return;
  }
  const [hostname, port] = target.split(":");
  const { method, url, headers } = request;
  const onward = forward({ hostname, port, method, path: url, headers, agent: false }, (answer) => {
    const changed = { ...answer.headers };
    if (fault.kind === "lengthen") delete changed["content-length"];
    response.writeHead(answer.statusCode!, changed);
    pass(answer, response, fault);
  });
  onward.on("error", () => response.destroy());
  let sent = 0;
  request.on("data", (chunk: Buffer) => {
    const limit = fault.kind === "cut-upload" ? fault.after - sent : chunk.length;
    sent += chunk.length;
    onward.write(chunk.subarray(0, Math.max(0, limit)));
    if (limit >= chunk.length) return;
    // The registry must have taken what was sent before its connection ends as well.
    onward.once("socket", () => undefined);
    request.destroy();
    setImmediate(() => onward.destroy());
  });
  request.on("end", () => onward.end());
}

function pass(answer: IncomingMessage, response: ServerResponse, fault: Fault): void {
  let passed = 0;
  if (fault.kind === "stall" || fault.kind === "drip") {
    answer.resume();
    const timer = fault.kind === "drip" ? setInterval(() => response.write("x"), fault.everyMs) : undefined;
    response.flushHeaders();
    response.on("close", () => clearInterval(timer));
    return;
  }
  answer.on("data", (chunk: Buffer) => {
    if (fault.kind === "corrupt" && passed === 0) chunk[0] = chunk[0]! ^ 0xff;
    if (fault.kind === "cut" && passed + chunk.length >= fault.after) {
      response.write(chunk.subarray(0, fault.after - passed), () => response.destroy());
      answer.destroy();
      return;
    }
    passed += chunk.length;
    if (!response.write(chunk)) {
      answer.pause();
      response.once("drain", () => answer.resume());
    }
  });
  answer.on("end", () => response.end(fault.kind === "lengthen" ? "more than was asked for" : undefined));
}
