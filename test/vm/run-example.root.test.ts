/** Aegisfile.example is what people start from: it builds as it stands, and what it promises of the machine is so. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";

const example = path.resolve(import.meta.dirname, "../../Aegisfile.example");

/** Answers with what it was given; a request for /fail is written to the error log. */
const server = `
const fs = require("node:fs");
fs.mkdirSync("logs", { recursive: true });
require("node:http").createServer((request, response) => {
  if (request.url === "/fail") fs.appendFileSync("logs/a.jsonl", JSON.stringify({ level: "error", message: "it failed" }) + "\\n");
  response.end(JSON.stringify({
    config: JSON.parse(fs.readFileSync("config.json", "utf8")),
    mode: (fs.statSync("config.json").mode & 0o777).toString(8),
    key: process.env.API_KEY === "k\\"1",
    bot: process.env.TELEGRAM_BOT_TOKEN,
    environment: process.env.NODE_ENV,
    workspace: fs.readdirSync("/workspace"),
  }));
}).listen(process.env.PORT, "127.0.0.1");
`;

let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  await aegis.importBase("debian-node:22", "debian-node:22");
});
afterAll(() => aegis?.dispose());

test("Aegisfile.example builds, boots with its secrets and settings, and serves", async () => {
  const context = path.join(aegis.scratch, "example");
  const workspace = path.join(aegis.scratch, "workspace");
  for (const directory of [context, workspace]) await mkdir(directory);
  await writeFile(path.join(context, "server.js"), server);
  await writeFile(path.join(context, "Aegisfile"), await readFile(example));
  await writeFile(path.join(workspace, "from-host"), "");
  await aegis.ok("build", "-q", "--build-arg", "NODE=22", "-t", "example", context);

  expect((await aegis.run("run", "-d", "example")).stderr).toContain("missing secret: API_KEY");
  await aegis.runWith({ stdin: 'k"1' }, "secret", "set", "API_KEY");
  await aegis.ok("run", "-d", "--name", "example", "-p", ":8080", "--workspace", workspace, "example");
  const url = `http://${await aegis.ok("port", "example", "8080")}`;
  const answer = await eventually(async () => (await fetch(url)).json());
  expect(answer).toEqual({
    config: { apiKey: 'k"1', port: 8080 },
    mode: "600",
    key: true,
    environment: "production",
    workspace: ["from-host"],
  });
  await fetch(`${url}/fail`);
  await eventually(async () =>
    /a\.jsonl: it failed/.test((await aegis.run("logs", "example")).stderr) ? true : undefined,
  );
  const { origins } = await aegis.inspect("example");
  expect(origins).toMatchObject({ memory: "image", cpus: "image", disk: "image" });
  await aegis.ok("rm", "-f", "example");
  expect(await aegis.leftovers()).toEqual([]);
});
