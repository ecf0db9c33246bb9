import { execFileSync, spawn } from "node:child_process";
import { copyFile, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";
import { baseImage } from "../helpers/base-images.js";

let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  await aegis.importBase("busybox:latest", "busybox", 'CMD ["sh"]');
});
afterEach(async () => {
  expect(await aegis.leftovers()).toEqual([]);
});
afterAll(() => aegis?.dispose());

const busybox = (...script: string[]) => ["run", "--rm", "busybox", "sh", "-c", ...script] as const;

describe("a foreground run", () => {
  test("passes output apart, input on, and the exit status out", async () => {
    const script = "cat; echo err >&2; exit 42";
    const result = await aegis.runWith({ stdin: "typed" }, "run", "--rm", "-i", "busybox", "sh", "-c", script);
    expect(result).toEqual({ code: 42, stdout: "typed", stderr: "err\n" });
  });

  test("says why an app did not start, with Docker's exit status", async () => {
    const missing = await aegis.run("run", "--rm", "busybox", "nosuch");
    expect(missing).toMatchObject({ code: 127, stderr: expect.stringContaining("nosuch is not in the image") });
    const directory = await aegis.run("run", "--rm", "busybox", "/etc");
    expect(directory).toMatchObject({ code: 126, stderr: expect.stringContaining("not executable") });
  });

  test("Ctrl-C ends the app, and the machine cleanly", async () => {
    const child = aegis.start(...busybox("echo up; sleep 1000"));
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    child.kill("SIGINT");
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(130);
  });

  test("an OOM kill is told with the process and the flag to raise (#16)", async () => {
    const { code, stderr } = await aegis.run("run", "--rm", "--memory", "96m", "busybox", "tail", "/dev/zero");
    expect(code).toBe(137);
    expect(stderr).toMatch(
      /out of memory: the guest's kernel killed tail .*the machine has 96 MiB, run it with --memory 1g/,
    );
  });
});

test("a terminal has its size, passes Ctrl-C to the guest and gives the status back", async () => {
  await aegis.ok("run", "-d", "--name", "shell", "busybox", "sleep", "1000");
  const [program, script] = aegis.command;
  // script(1) gives the command a terminal; stty on its side of it sets the size first.
  const inner = `stty rows 33 cols 99; '${program}' '${script}' exec -it shell sh -c 'trap "echo interrupted; exit 7" INT; tty; stty size; while :; do sleep 1; done'`;
  const child = execInTerminal(inner);
  await child.until(/33 99/);
  child.type("\u0003");
  expect(await child.exit).toBe(7);
  expect(child.text()).toMatch(/\/dev\/(pts\/\d+|console|tty)/);
  expect(child.text()).toContain("interrupted");
  await aegis.ok("rm", "-f", "shell");
});

function execInTerminal(command: string) {
  const terminal = spawn("script", ["-qec", command, "/dev/null"], { env: aegis.env, stdio: "pipe" });
  let text = "";
  let wake: () => void = () => undefined;
  terminal.stdout.on("data", (chunk) => {
    text += chunk;
    wake();
  });
  return {
    text: () => text,
    type: (keys: string) => terminal.stdin.write(keys),
    exit: new Promise<number | null>((resolve) => terminal.once("exit", resolve)),
    async until(pattern: RegExp) {
      while (!pattern.test(text)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

test("restart policies boot the app again; a stop by hand ends them", async () => {
  await aegis.run(
    "run",
    "--name",
    "flaky",
    "--restart",
    "on-failure:1",
    "busybox",
    "sh",
    "-c",
    "echo again >> /count; exit 3",
  );
  const { state } = await aegis.inspect("flaky");
  expect(state).toMatchObject({ status: "exited", exitCode: 3, restartCount: 1 });
  expect(await aegis.ok("logs", "flaky").then(() => aegis.run("logs", "flaky"))).toMatchObject({
    stderr: expect.stringContaining("restarting in 0.1 s"),
  });
  await aegis.ok("rm", "flaky");
});

test("an image without a name is the same instance with the same disk; a changed one gets a new disk and a way back", async () => {
  const once = "cat /mark 2>/dev/null; echo $0 > /mark";
  expect(await aegis.ok("run", "busybox", "sh", "-c", once, "first")).toBe("");
  expect(await aegis.ok("run", "busybox", "sh", "-c", once, "second")).toBe("first");
  const { id } = await aegis.inspect("busybox");

  const tree = path.join(aegis.scratch, "tree");
  await mkdir(path.join(tree, "extra"), { recursive: true });
  await writeFile(path.join(tree, "extra/file"), "changed");
  const tar = path.join(aegis.scratch, "changed.tar");
  await writeFile(tar, await readFile(await baseImage("busybox:latest")));
  execFileSync("tar", ["-rf", tar, "-C", tree, "."]);
  await aegis.ok("import", "--change", 'CMD ["sh"]', tar, "busybox");

  const changed = await aegis.run("run", "busybox", "sh", "-c", once, "third");
  expect(changed).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("the image has changed") });
  expect((await aegis.inspect("busybox")).id).toBe(id);
  const back = await aegis.run("start", "-a", "--rollback", "busybox");
  expect(back, back.stderr).toMatchObject({ code: 0, stdout: "second\n" });
  expect((await aegis.run("start", "--rollback", "busybox")).stderr).toContain("AEGIS_E_NO_ROLLBACK");
  await aegis.ok("rm", "busybox");
});

test("a host directory, single files and named volumes are there, and read-only where asked", async () => {
  const shared = path.join(aegis.scratch, "shared");
  await mkdir(shared, { recursive: true });
  await writeFile(path.join(shared, "in"), "from the host");
  for (const name of ["one", "two"]) await writeFile(path.join(shared, name), `file ${name}\n`);
  const mounts = ["-v", `${shared}:/shared`, "-v", `${shared}:/readonly:ro`, "-v", "kept:/kept"];
  const files = ["-v", `${shared}/one:/etc/one`, "-v", `${shared}/two:/srv/deep/two:ro`];
  const script =
    "cat /shared/in; echo from the guest > /shared/out; echo volume > /kept/file; touch /readonly/x 2>&1 || true";
  const onFiles =
    "cat /etc/one /srv/deep/two; echo appended >>/etc/one; echo x 2>&1 >>/srv/deep/two; ls /srv/deep; grep -c one /etc/group";
  const withFiles = await aegis.run("run", "--rm", ...files, "busybox", "sh", "-c", onFiles);
  expect(withFiles.stdout).toMatch(/^file one\nfile two\n.*Read-only file system\ntwo\n0\n$/s);
  expect(await readFile(path.join(shared, "one"), "utf8")).toBe("file one\nappended\n");
  expect(await readFile(path.join(shared, "two"), "utf8")).toBe("file two\n");
  const { stdout } = await aegis.run("run", "--rm", ...mounts, "busybox", "sh", "-c", script);
  expect(stdout).toMatch(/^from the host.*Read-only file system/s);
  expect(await readFile(path.join(shared, "out"), "utf8")).toBe("from the guest\n");
  expect(await aegis.ok("run", "--rm", "-v", "kept:/elsewhere", "busybox", "cat", "/elsewhere/file")).toBe("volume");
});

test("an idle machine sleeps, and a connection to its port wakes it and is served (#1)", async () => {
  const server = 'while true; do printf "HTTP/1.0 200 OK\\r\\n\\r\\nawake" | nc -l -p 80 >/dev/null; done';
  await aegis.ok("run", "-d", "--name", "sleepy", "--idle", "2s", "-p", ":80", "busybox", "sh", "-c", server);
  const address = await aegis.ok("port", "sleepy", "80");
  await eventually(async () => ((await aegis.inspect("sleepy")).state.pausedBy === "idle" ? true : undefined));
  const answer = await fetch(`http://${address}/`, { signal: AbortSignal.timeout(60_000) });
  expect(await answer.text()).toBe("awake");
  const { stderr } = await aegis.run("logs", "sleepy");
  expect(stderr).toMatch(/paused after 2 s without use.*\n.*woken by a connection/);
  await aegis.ok("rm", "-f", "sleepy");
});

test("settings come from the image, files are rendered from secrets, and error logs in the guest are surfaced (#8, #11)", async () => {
  const template = JSON.stringify([
    { path: "/etc/app/auth.json", mode: "0600", chown: "65534:65534", template: '{"key":{{ secret "KEY" | json }}}' },
  ]);
  const secrets = JSON.stringify([{ name: "KEY", target: "/run/key", required: true }]);
  await aegis.importBase(
    "busybox:latest",
    "kit",
    "LABEL dev.aegis.memory=300m dev.aegis.cpus=1",
    `LABEL dev.aegis.secrets=${quote(secrets)} dev.aegis.renders=${quote(template)}`,
    `LABEL dev.aegis.errorlogs=${quote(JSON.stringify([{ glob: "/var/app/*.jsonl", field: "errorMessage" }]))}`,
  );
  const missing = await aegis.run("run", "--rm", "kit", "true");
  expect(missing).toMatchObject({
    code: 125,
    stderr: expect.stringContaining("missing secret: KEY [AEGIS_E_SECRET_MISSING]"),
  });
  await aegis.runWith({ stdin: 'va"lue' }, "secret", "set", "KEY");
  const script =
    "cat /etc/app/auth.json; stat -c ' %a %u' /etc/app/auth.json; cat /run/key; grep MemTotal /proc/meminfo";
  const session = '{"stopReason":"error","errorMessage":"Connection error."}';
  const fail = `mkdir -p /var/app; echo '${session}' > /var/app/s.jsonl; sleep 3`;
  const stdout = await aegis.ok("run", "--name", "kit", "kit", "sh", "-c", `${script}; ${fail}`);
  expect(stdout).toMatch(/^\{"key":"va\\"lue"\} 600 65534\nva"lueMemTotal: +2\d{5} kB$/);
  expect((await aegis.run("logs", "kit")).stderr).toContain("/var/app/s.jsonl: Connection error.");
  expect((await aegis.inspect("kit")).origins).toMatchObject({ memory: "image", cpus: "image" });
  const { files } = await aegis.inspect("kit");
  expect(await readFile(path.join(files.directory, "instance.json"), "utf8")).not.toContain("lue");
  await aegis.ok("rm", "kit");
});

test("lines of error logs that are written as the machine ends are told, and none twice by the next boot (#11)", async () => {
  const rules = JSON.stringify([{ glob: "/var/app/*.log" }]);
  await aegis.importBase("busybox:latest", "logger", `LABEL dev.aegis.errorlogs=${quote(rules)}`);
  const script =
    'mkdir -p /var/app; n=$(ls /var/app | wc -l); echo "error $n" | tee -a /var/app/a.log >/var/app/$n.log; exit 3';
  expect((await aegis.run("run", "--name", "logger", "logger", "sh", "-c", script)).code).toBe(3);
  expect((await aegis.run("start", "-a", "logger")).code).toBe(3);
  const told = (await aegis.run("logs", "logger")).stderr.match(/\/var\/app\/.*/g);
  expect([...told!].sort()).toEqual([
    "/var/app/0.log: error 0",
    "/var/app/2.log: error 2",
    "/var/app/a.log: error 0",
    "/var/app/a.log: error 2",
  ]);
  await aegis.ok("rm", "logger");
});

test("cp and top ask nothing of an image: no tar, no shell", async () => {
  const context = path.join(aegis.scratch, "bare");
  await mkdir(path.join(context, "deep/er"), { recursive: true });
  await copyFile("/bin/busybox", path.join(context, "busybox"));
  await writeFile(path.join(context, "deep/er/file"), "x".repeat(100_000), { mode: 0o640 });
  await writeFile(
    path.join(context, "Dockerfile"),
    'FROM scratch\nCOPY busybox /busybox\nCMD ["/busybox", "sleep", "1000"]\n',
  );
  await aegis.ok("build", "-q", "-t", "bare", context);
  await aegis.ok("run", "-d", "--name", "bare", "bare");
  expect(await aegis.ok("top", "bare")).toMatch(/ \/busybox sleep 1000$/m);
  await aegis.ok("cp", path.join(context, "deep"), "bare:/in");
  await aegis.ok("cp", path.join(context, "deep/er/file"), "bare:/in/er/");
  expect(await aegis.ok("exec", "bare", "/busybox", "stat", "-c", "%a %s", "/in/er/file")).toBe("640 100000");
  await aegis.ok("cp", "bare:/in/.", path.join(aegis.scratch, "out"));
  expect((await stat(path.join(aegis.scratch, "out/er/file"))).size).toBe(100_000);
  expect((await aegis.run("cp", "bare:/none", aegis.scratch)).stderr).toContain("none: No such file or directory");
  await aegis.ok("rm", "-f", "bare");
});

test("a full disk is told, with the flag to raise, and is why the app ended", async () => {
  const { code, stderr } = await aegis.run(
    "run",
    "--name",
    "full",
    "--disk",
    "16m",
    "busybox",
    "sh",
    "-c",
    "cat /dev/zero >/big",
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/aegis: full: the disk is full \(1\d MiB\): free some of it, or run it with --disk 32m/);
  expect((await aegis.inspect("full")).state.reason).toMatch(/^the disk is full/);
  const volume = await aegis.run(
    "run",
    "--disk",
    "16m",
    "--rm",
    "-v",
    "small:/v",
    "busybox",
    "sh",
    "-c",
    "cat /dev/zero >/v/big",
  );
  expect(volume.stderr).toContain("the volume small is full");
  await aegis.ok("rm", "full");
});

const quote = (text: string) => `"${text.replace(/["\\$]/g, "\\$&")}"`;
