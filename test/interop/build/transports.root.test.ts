/**
 * Repositories behind git's own daemon and behind sshd, both on loopback, and a real ssh-agent for them and for RUN. Root, because
 * sshd lets in whoever it runs as, and for the container of RUN.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { BuildSandbox } from "../../helpers/build-sandbox.js";
import { writeBusybox } from "../../helpers/busybox-tree.js";
import { freePort } from "../../helpers/free-port.js";
import { git } from "../../helpers/git-server.js";

let origin: BuildSandbox;
let sandbox: BuildSandbox;
const running: ChildProcess[] = [];
const undo: (() => void)[] = [];
const ports = { git: 0, ssh: 0 };
const at = (...names: string[]) => path.join(origin.root, ...names);

/** Starts a program that stays, and waits until it says that it is ready. */
async function start(command: string, args: readonly string[], ready: RegExp): Promise<void> {
  const child = spawn(command, [...args], { stdio: ["ignore", "pipe", "pipe"] });
  running.push(child);
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const listen = (chunk: Buffer) => {
      said += chunk;
      if (ready.test(said)) resolve();
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${command} ended: ${said}`)));
  });
}

beforeAll(async () => {
  origin = new BuildSandbox();
  mkdirSync(at("work", "dir"), { recursive: true });
  mkdirSync(at("served"));
  git(at("work"), "init", "-q", "-b", "main");
  writeFileSync(at("work", "Dockerfile"), "FROM scratch\nCOPY dir /d\n");
  writeFileSync(at("work", "dir", "file"), "one\n");
  git(at("work"), "add", ".");
  git(at("work"), "commit", "-qm", "one");
  git(at("work"), "tag", "v1");
  git(at("served"), "clone", "-q", "--bare", at("work"), "app.git");

  ports.git = await freePort();
  const daemon = ["daemon", "--verbose", "--listen=127.0.0.1", `--port=${ports.git}`, "--export-all"];
  await start("git", [...daemon, `--base-path=${at("served")}`, at("served")], /Ready to rumble/);

  for (const name of ["host", "user"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", `${name}@test`, "-f", at(name)]);
  }
  // sshd gives up without it; a system where sshd has run has it.
  mkdirOnce("/run/sshd");
  ports.ssh = await freePort();
  const settings = {
    ListenAddress: `127.0.0.1:${ports.ssh}`,
    HostKey: at("host"),
    AuthorizedKeysFile: at("user.pub"),
    PidFile: "none",
    StrictModes: "no",
    UsePAM: "no",
    PasswordAuthentication: "no",
    PermitRootLogin: "prohibit-password",
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  await start("/usr/sbin/sshd", ["-D", "-e", "-f", "/dev/null", ...options], /Server listening on 127/);

  await start("ssh-agent", ["-D", "-a", at("agent")], /SSH_AUTH_SOCK/);
  execFileSync("ssh-add", ["-q", at("user")], { env: { ...process.env, SSH_AUTH_SOCK: at("agent") } });
});

function mkdirOnce(directory: string): void {
  if (mkdirSync(directory, { recursive: true, mode: 0o755 }) !== undefined) undo.push(() => rmdirSync(directory));
}

afterAll(async () => {
  for (const child of running) {
    if (child.exitCode !== null) continue;
    child.removeAllListeners("exit");
    child.kill();
    await once(child, "exit");
  }
  for (const step of undo) step();
  origin[Symbol.dispose]();
});
beforeEach(() => {
  sandbox = new BuildSandbox();
});
afterEach(() => sandbox[Symbol.dispose]());

const overGit = () => `git://127.0.0.1:${ports.git}/app.git`;
const overSsh = () => `ssh://root@127.0.0.1:${ports.ssh}${at("served", "app.git")}`;
const agent = () => [`default=${at("agent")}`];

it("git:// is a context and a source of ADD", async () => {
  const context = await sandbox.build("", { path: `${overGit()}#v1` });
  expect(await sandbox.layer(context, 0)).toEqual(["755 0:0 d/", "644 0:0 d/file"]);
  const added = await sandbox.build(`FROM scratch\nADD ${overGit()}#main:dir /x/\n`);
  expect(await sandbox.layer(added, 0)).toEqual(["755 0:0 x/", "644 0:0 x/file"]);
});

it("ssh:// is a context and a source of ADD, by the keys of an agent", async () => {
  const context = await sandbox.build("", { path: overSsh(), ssh: agent() });
  expect(await sandbox.layer(context, 0)).toEqual(["755 0:0 d/", "644 0:0 d/file"]);
  const added = await sandbox.build(`FROM scratch\nADD ${overSsh()}#v1:dir /x/\n`, { ssh: agent() });
  expect(await sandbox.layer(added, 0)).toEqual(["755 0:0 x/", "644 0:0 x/file"]);
});

it("ssh:// without the agent is refused by the server, and that is said", async () => {
  await expect(sandbox.build("", { path: overSsh() })).rejects.toMatchObject({
    code: expect.stringMatching(/SSH|GIT/),
  });
});

it("a RUN with --mount=type=ssh talks to the agent that was given", async () => {
  writeBusybox(path.join(sandbox.context, "root"));
  const program = "/usr/bin/ssh-add";
  const libraries = execFileSync("ldd", [program], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
  for (const file of [program, ...libraries]) {
    const target = path.join(sandbox.context, "root", file);
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(file, target);
  }
  const built = await sandbox.build("FROM scratch\nCOPY root /\nRUN --mount=type=ssh ssh-add -L\n", {
    isolation: "container",
    ssh: agent(),
  });
  expect(built.output).toMatch(/^ssh-ed25519 \S+ user@test$/m);
});
