/** Git repositories on loopback for tests: made on the spot, served by git's own http-backend, beside plain files. */
import { execFileSync, spawn } from "node:child_process";
import { createReadStream, statSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

export interface SourceServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Method and path of every request so far. */
  readonly requests: readonly string[];
  /** Value of the Authorization header of the last request that had one. */
  readonly authorization: () => string | undefined;
}

/** What a plain file is answered with besides its bytes. */
export interface ServedFile {
  readonly headers?: Readonly<Record<string, string>>;
  readonly status?: number;
}

/** Serves `root`: its `*.git` directories as repositories, everything else as files; `special` answers certain paths otherwise. */
export async function serveSources(
  root: string,
  options: { readonly special?: Readonly<Record<string, ServedFile>>; readonly port?: number } = {},
): Promise<SourceServer> {
  const requests: string[] = [];
  let authorization: string | undefined;
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    authorization = request.headers.authorization ?? authorization;
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (/\.git\//.test(pathname)) backend(root, request, response);
    else sendFile(root, pathname, options.special?.[pathname] ?? {}, request, response);
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    authorization: () => authorization,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function sendFile(
  root: string,
  pathname: string,
  { headers = {}, status }: ServedFile,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const file = path.join(root, decodeURIComponent(pathname));
  const stat = statSync(file, { throwIfNoEntry: false });
  const known = headers.etag !== undefined && request.headers["if-none-match"] === headers.etag;
  if (known) response.writeHead(304, headers).end();
  else if (!stat?.isFile()) response.writeHead(status ?? 404, headers).end();
  else {
    response.writeHead(status ?? 200, headers);
    createReadStream(file).pipe(response);
  }
}

/** RFC 3875: the request as environment and standard input, headers before the body on standard output. */
function backend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, search } = new URL(request.url ?? "/", "http://localhost");
  const child = spawn("git", ["-c", "safe.directory=*", "http-backend"], {
    stdio: ["pipe", "pipe", "ignore"],
    env: {
      ...process.env,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
      GIT_CONFIG_KEY_1: "uploadpack.allowAnySHA1InWant",
      GIT_CONFIG_VALUE_1: "true",
      REQUEST_METHOD: request.method ?? "GET",
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      HTTP_GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
    },
  });
  request.pipe(child.stdin);
  child.stdin.on("error", () => undefined);
  let head = Buffer.alloc(0);
  let started = false;
  child.stdout.on("data", (chunk: Buffer) => {
    if (started) return void response.write(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    started = true;
    const headers: Record<string, string> = {};
    for (const line of head.subarray(0, end).toString().split("\r\n")) {
      const [name = "", value = ""] = line.split(/:\s*/, 2);
      headers[name.toLowerCase()] = value;
    }
    response.writeHead(Number.parseInt(headers.status ?? "200", 10), headers);
    response.write(head.subarray(end + 4));
  });
  child.stdout.on("close", () => response.end());
}

/** Runs git in `directory` as somebody whose commits are the same every time. */
export function git(directory: string, ...args: readonly string[]): string {
  return execFileSync("git", [...args], {
    cwd: directory,
    stdio: ["ignore", "pipe", "ignore"],
    env: {
      PATH: process.env.PATH,
      HOME: "/nonexistent",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_ALLOW_PROTOCOL: "file:http",
      GIT_AUTHOR_NAME: "A",
      GIT_AUTHOR_EMAIL: "a@example.com",
      GIT_COMMITTER_NAME: "A",
      GIT_COMMITTER_EMAIL: "a@example.com",
      GIT_AUTHOR_DATE: "2001-02-03T04:05:06Z",
      GIT_COMMITTER_DATE: "2001-02-03T04:05:06Z",
    },
  })
    .toString()
    .trim();
}
