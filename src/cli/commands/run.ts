import { homedir } from "node:os";
import { Command, Option } from "clipanion";
import { interact } from "../../instance/client.js";
import { parseCpus } from "../../instance/image-settings.js";
import { stopInstance } from "../../instance/lifecycle.js";
import { parsePort } from "../../instance/ports.js";
import { parseRestart } from "../../instance/restart.js";
import type { RunFlags } from "../../instance/settings.js";
import { parseSignal } from "../../instance/signals.js";
import { runInstance, type Started } from "../../instance/start.js";
import { parseMount, parseTmpfs, parseVolume } from "../../instance/volumes.js";
import { parseSecretFlag } from "../../secrets/spec.js";
import { parseDuration } from "../../support/durations.js";
import { AegisError } from "../../support/errors.js";
import { parseExtraHost } from "../../support/extra-hosts.js";
import { parseSize } from "../../support/sizes.js";
import { AegisCommand } from "../command.js";
import { findImage } from "../image-for-run.js";
import { environmentFile, environmentOf, parseLabels } from "../run-options.js";
import { selfCommand } from "../self.js";
import { front, terminalSize } from "../terminal.js";

const list = (names: string, description: string) =>
  Option.Array(names, [], { description: `${description} (repeatable)` });
const text = (names: string, description: string) => Option.String(names, { description });
const flag = (names: string, description: string) => Option.Boolean(names, false, { description });

export default class RunCommand extends AegisCommand {
  static override paths = [["run"]];
  static override passThrough = true;
  static override usage = Command.Usage({
    details: `Without an image, runs the one that "aegis build" made last in, or from, this directory.
      Without --name the instance is called after its image: run again after a stop and it is the same instance with the
      same disk. If the image's layers have changed since, it gets a new disk, and the old one is kept for one
      "aegis start --rollback". With --rm it is removed when it ends.`,
    examples: [
      ["What was built here, reachable on 127.0.0.1:18789", "$0 run -p 18789"],
      [
        "In the background, with more memory and a secret",
        "$0 run -d --memory 2g --secret OPENAI_API_KEY -p 18789 claw",
      ],
      ["A shell that leaves nothing behind", "$0 run --rm -it debian:12 bash"],
    ],
  });

  arguments = Option.Rest({ name: "image-and-command" });

  detach = flag("-d,--detach", "run in the background and print the instance's name");
  name = text("--name", "name of the instance (default: the image's)");
  rm = flag("--rm", "remove the instance when it ends");
  publish = list("-p,--publish", "publish a port: GUEST, HOST:GUEST or IP:HOST:GUEST, /udp, ranges");
  expose = list("--expose", "the same as --publish");
  publishAll = flag("-P,--publish-all", "publish every port that the image exposes");
  memory = text("-m,--memory", "memory, like 512m or 2g (default 1g)");
  cpus = text("--cpus", "processors (default 2, or as many as the host has)");
  disk = text("--disk", "size of the writable disk (default 20g; it takes only what is written)");
  env = list("-e,--env", "NAME=value, or NAME to pass this environment's value");
  envFile = list("--env-file", "file of NAME=value lines");
  secret = list("--secret", "NAME from the store, or id=NAME with src=FILE or env=VARIABLE, and target=PATH");
  volume = list("-v,--volume", "HOSTDIR:/path[:ro], NAME:/path or /path");
  mount = list("--mount", "type=bind|volume|tmpfs,source=...,target=...[,readonly]");
  tmpfs = list("--tmpfs", "/path[:size=64m]");
  workspace = text("--workspace", "host directory for the image's WORKSPACE (default: one kept with the instance)");
  workdir = text("-w,--workdir", "working directory in the guest");
  user = text("-u,--user", "user[:group] in the guest");
  entrypoint = text("--entrypoint", "replaces the image's entrypoint");
  interactive = flag("-i,--interactive", "keep standard input open");
  tty = flag("-t,--tty", "give the app a terminal");
  hostname = text("-h,--hostname", "host name in the guest (default: the instance's name)");
  addHost = list("--add-host", "NAME:ADDRESS for the guest's /etc/hosts; host-gateway is the host");
  network = text("--network", "default or none");
  hostLoopback = flag("--host-loopback", "let the guest reach the host's own 127.0.0.1 as host.aegis.internal");
  restart = text("--restart", "no, on-failure[:N], always or unless-stopped");
  idle = text("--idle", "pause after this much quiet (like 10m) and wake on a connection; off for never");
  stopSignal = text("--stop-signal", "signal that asks the app to end (default TERM)");
  stopTimeout = text("--stop-timeout", "seconds to wait for it before SIGKILL (default 10)");
  label = list("-l,--label", "key=value");
  privileged = flag("--privileged", "all capabilities for the app");
  readOnly = flag("--read-only", "mount the root filesystem read-only");
  shmSize = text("--shm-size", "size of /dev/shm");
  pull = Option.String("--pull", "missing", { description: "missing, always or never" });
  platform = text("--platform", "platform of the image");
  vmm = text("--vmm", "krun or qemu (default: what this host can do best)");
  init = Option.Boolean("--init", false, { hidden: true });

  override async execute(): Promise<number> {
    const [reference, ...command] = this.arguments;
    const flags = await this.#flags(command);
    const found = await findImage(this.home, {
      reference,
      pull: this.pull,
      platform: this.platform,
      note: (line) => this.note(line),
    });
    const started = await runInstance(this.home, {
      ...found.request,
      flags,
      self: selfCommand(),
      env: process.env,
      attach: !this.detach,
    }).finally(() => found.release());
    if (started.outcome === "recreated") {
      this.note(
        `${started.config.name}: the image has changed, so it starts on a new disk; "aegis start --rollback ${started.config.name}" brings the old one back`,
      );
    }
    return this.detach ? await this.#background(started) : await this.#foreground(started);
  }

  async #background(started: Started): Promise<number> {
    try {
      await started.running;
    } finally {
      started.release();
    }
    const { name, id, ports } = started.config;
    this.print({ name, id, outcome: started.outcome, ports }, () => name);
    return 0;
  }

  async #foreground(started: Started): Promise<number> {
    const { config } = started;
    const interaction = await interact(
      this.home,
      config,
      {
        op: "attach",
        stdin: this.interactive,
        output: true,
        foreground: true,
        size: this.tty ? terminalSize() : undefined,
      },
      {
        stdin: this.interactive && !(this.tty && process.stdin.isTTY) ? process.stdin : undefined,
        stdout: this.context.stdout,
        stderr: this.context.stderr,
      },
    );
    const patience = (times: number) => {
      const how = times === 2 ? {} : { signal: 9, graceMs: 0 };
      void stopInstance(this.home, config.id, how).catch(() => undefined);
    };
    try {
      const end = await front(interaction, { tty: this.tty, signals: true, onImpatience: patience }).catch(
        async (error: unknown) => {
          // What kept it from running says more than that the connection ended.
          await started.running;
          throw error;
        },
      );
      if (end === "detached") return 0;
      if (end.reason) this.note(`aegis: ${config.name}: ${end.reason}`);
      return end.exitCode;
    } finally {
      started.release();
    }
  }

  async #flags(command: readonly string[]): Promise<RunFlags> {
    if (this.tty && this.detach === false && this.interactive && !process.stdin.isTTY) {
      throw new AegisError("NO_TERMINAL", "-t needs a terminal, and standard input is none", { hint: "leave -t out" });
    }
    const cwd = process.cwd();
    const home = homedir();
    const files = await Promise.all(this.envFile.map((file) => environmentFile(file, process.env)));
    const optional = <T>(value: string | undefined, parse: (value: string) => T) =>
      value === undefined ? undefined : parse(value);
    return {
      name: this.name,
      command,
      entrypoint: this.entrypoint,
      env: [...files.flat(), ...environmentOf(this.env, process.env)],
      user: this.user,
      cwd: this.workdir,
      ports: [...this.publish, ...this.expose].flatMap(parsePort),
      publishAll: this.publishAll,
      memoryBytes: optional(this.memory, parseSize),
      cpus: optional(this.cpus, parseCpus),
      diskBytes: optional(this.disk, parseSize),
      volumes: [
        ...this.volume.map((one) => parseVolume(one, cwd, home)),
        ...this.mount.map((one) => parseMount(one, cwd, home)),
        ...this.tmpfs.map(parseTmpfs),
      ],
      workspace: this.workspace,
      secrets: this.secret.map(parseSecretFlag),
      hostname: this.hostname,
      extraHosts: this.addHost.map(parseExtraHost),
      network: parseNetwork(this.network),
      hostLoopback: this.hostLoopback,
      restart: optional(this.restart, parseRestart),
      autoRemove: this.rm,
      idleMs: optional(this.idle, (value) => (value === "off" ? "off" : parseDuration(value))),
      tty: this.tty,
      openStdin: this.interactive,
      privileged: this.privileged,
      stopSignal: optional(this.stopSignal, parseSignal),
      stopGraceMs: optional(this.stopTimeout, (value) => parseDuration(value, "s")),
      labels: parseLabels(this.label),
      readOnlyRoot: this.readOnly,
      shmBytes: optional(this.shmSize, parseSize),
      vmm: optional(this.vmm, parseVmm),
    };
  }
}

function parseNetwork(value: string | undefined): boolean {
  if (value === undefined || value === "default" || value === "bridge") return true;
  if (value === "none") return false;
  throw new AegisError("BAD_NETWORK", `there is no network "${value}"`, {
    hint: "a machine has a network of its own (default) or none; publish ports with -p",
  });
}

function parseVmm(value: string): "krun" | "qemu" {
  if (value === "krun" || value === "qemu") return value;
  throw new AegisError("BAD_VMM", `there is no driver "${value}"`, { hint: "it is krun or qemu" });
}
