/** What running a real agent in a machine by hand once stumbled over, each point with its number (docs/openclaw.md). */
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";

let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  await aegis.importBase("debian-node:22", "node");
});
afterAll(() => aegis?.dispose());

/** An npm package with a command, as a tarball. */
async function npmPackage(name: string): Promise<string> {
  const root = path.join(aegis.scratch, name);
  await mkdir(path.join(root, "package"), { recursive: true });
  const manifest = { name, version: "1.0.0", bin: { [name]: "main.js" } };
  await writeFile(path.join(root, "package/package.json"), JSON.stringify(manifest));
  await writeFile(path.join(root, "package/main.js"), `#!/usr/bin/env node\nconsole.log("${name} works")\n`);
  execFileSync("tar", ["-czf", `${root}.tgz`, "-C", root, "package"]);
  return `${root}.tgz`;
}

test("what npm installed globally in a running machine is there after a stop, a crash and a restart of the host (#7)", async () => {
  await aegis.ok("run", "-d", "--name", "box", "--memory", "512m", "--cpus", "1", "node", "sleep", "infinity");
  await aegis.ok("cp", await npmPackage("greet"), "box:/root/greet.tgz");
  await aegis.ok("exec", "box", "sh", "-c", "npm install -g --offline /root/greet.tgz && sync");
  const greet = () => aegis.ok("exec", "box", "greet");
  expect(await greet()).toBe("greet works");

  await aegis.ok("stop", "box");
  await aegis.ok("start", "box");
  expect(await greet()).toBe("greet works");

  process.kill((await aegis.inspect("box")).state.vmmPid!, "SIGKILL");
  await aegis.ok("wait", "box");
  await aegis.ok("start", "box");
  expect(await greet()).toBe("greet works");

  // All processes at once, as when the host loses its power.
  const { supervisorPid, vmmPid } = (await aegis.inspect("box")).state;
  for (const pid of [supervisorPid!, vmmPid!]) process.kill(pid, "SIGKILL");
  await eventually(async () => ((await processes()).length === 0 ? true : undefined));
  await aegis.ok("start", "box");
  expect(await greet()).toBe("greet works");
  await aegis.ok("rm", "-f", "box");
});

/** A killed supervisor leaves its socket, which the next start replaces: processes are the lines with arguments. */
const processes = async () => (await aegis.leftovers()).filter((line) => line.includes(" "));

test("work that says nothing and talks to nobody keeps a machine with --idle awake until it is done (#1)", async () => {
  const script = "for i in 1 2 3 4; do npm --version; done > /dev/null; echo installed; sleep infinity";
  await aegis.ok("run", "-d", "--name", "silent", "--idle", "1s", "--cpus", "1", "node", "sh", "-c", script);
  await eventually(async () => ((await aegis.inspect("silent")).state.pausedBy === "idle" ? true : undefined));
  expect((await aegis.run("logs", "silent")).stdout).toBe("installed\n");
  await aegis.ok("rm", "-f", "silent");
});

test("the network is up in an image without a command that could set it up (#17)", async () => {
  const script = `const { existsSync: there } = require("fs");
    const tools = ["ip", "ifconfig", "dhclient"].flatMap((name) => ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"].map((at) => at + name));
    console.log(JSON.stringify([tools.filter(there), os.networkInterfaces().eth0.find((it) => it.family === "IPv4").cidr]));`;
  const { stdout } = await aegis.run("run", "--rm", "--cpus", "1", "node", "node", "-e", script);
  expect(JSON.parse(stdout)).toEqual([[], "192.168.127.2/24"]);
});

test("configurations are written at each boot, from today's secrets, deep in directories, and ask nobody (#8, #10, #12)", async () => {
  const context = path.join(aegis.scratch, "kit");
  await mkdir(context);
  const [kept, replaced] = ["/srv/.app/.app/agents/main/auth.json", "/srv/.app/.app/state/profiles.json"];
  const template = '{ "key": {{ secret "API_KEY" | json }} }';
  const script = `
    for (const file of ["${kept}", "${replaced}"]) {
      const s = fs.statSync(file);
      console.log(s.mode.toString(8), s.uid, s.gid, fs.readFileSync(file, "utf8").trim());
    }
    fs.writeFileSync("${replaced}.new", "the app's own");
    fs.renameSync("${replaced}.new", "${replaced}");
    console.log(fs.readFileSync("${replaced}", "utf8"));`;
  await writeFile(path.join(context, "main.js"), `const fs = require("fs");${script}`);
  await writeFile(
    path.join(context, "Aegisfile"),
    `FROM node
MEMORY 512m
CPUS 1
SECRET API_KEY
COPY main.js /app/
USER 1000:1000
RENDER ${kept} --mode=0600 <<EOF
${template}
EOF
RENDER ${replaced} --mode=0600 --tmpfs <<EOF
${template}
EOF
CMD ["node", "/app/main.js"]
`,
  );
  await aegis.runWith({ cwd: context }, "build", ".");
  for (const value of ["first", "second"]) {
    await aegis.runWith({ stdin: `${value}\n` }, "secret", "set", "API_KEY");
    const { stdout, stderr } = await aegis.runWith({ cwd: context }, "run", "--name", "app");
    const line = `100600 1000 1000 { "key": "${value}" }\n`;
    expect(stdout, stderr).toBe(`${line}${line}the app's own\n`);
  }
  expect(await aegis.ok("logs", "app")).not.toMatch(/first|second/);
  await aegis.ok("rm", "app");
  expect(await aegis.leftovers()).toEqual([]);
});
