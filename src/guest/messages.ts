/** The payloads of messages: configurations to bytes, the guest's bytes to values (harness/PROTOCOL.md, "Messages"). */
import { AegisError } from "../support/errors.js";
import { capabilityMask } from "./capabilities.js";
import { errorOfLine } from "./error-lines.js";
import { Fields, FieldWriter, MalformedMessage } from "./fields.js";
import { MAX_MESSAGE } from "./frames.js";
import type {
  BootConfig,
  GuestEvent,
  GuestFile,
  GuestHello,
  GuestMount,
  GuestStats,
  ProcessExit,
  ProcessSpec,
  ResourceLimit,
  SandboxSpec,
  ShutdownOptions,
  StartError,
} from "./types.js";

const mountTypes = { virtiofs: 1, tmpfs: 2, disk: 3, bind: 4 } as const;
/** A forwarded socket travels as a mount. */
const socketMount = 5;
const mountFlags = { readOnly: 1, copyUp: 2, discard: 4, noexec: 8 } as const;
/** Numbers of setrlimit(2) on x86-64 and arm64 (asm-generic/resource.h). */
const limits =
  "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime".split(" ");

/** @param firstSocket number of the first forwarded socket
 * @throws AegisError GUEST_CONFIG when something in it can't be said to a guest */
export function encodeBoot(config: BootConfig, now: Date, firstSocket = 0): Buffer {
  const { root, network } = config;
  const writer = new FieldWriter()
    .text(1, single(config.hostname, "the host name"))
    .u64(2, BigInt(now.getTime()) * 1_000_000n)
    .nested(3, (w) => {
      for (const lower of root.lowers) {
        const { disk, directory } = typeof lower === "number" ? { disk: lower, directory: "/" } : lower;
        w.nested(1, (l) => l.u32(1, disk).text(2, absolute(directory, "a lower directory")));
      }
      if (root.upper !== undefined) w.u32(2, root.upper);
      for (const { path, type } of root.mountPoints ?? [])
        w.nested(4, (p) => p.text(1, absolute(path, "a mount point")).u32(2, type === "directory" ? 1 : 0));
      w.u32(3, (config.readOnlyRoot ? 1 : 0) | (root.volatile ? 2 : 0));
    });
  if (network) {
    writer.nested(4, (w) => {
      w.bytes(1, ipv4(network.address)).u32(2, network.prefix).bytes(3, ipv4(network.gateway));
      for (const server of network.dns) w.bytes(4, ipv4(server));
      if (network.mtu !== undefined) w.u32(5, network.mtu);
    });
  }
  for (const host of config.extraHosts) writer.nested(5, (w) => writeHost(w, host));
  for (const mount of config.mounts) writer.nested(6, (w) => writeMount(w, mount));
  for (const file of config.files) writer.nested(7, (w) => writeFile(w, file));
  for (const { port, protocol } of config.ports)
    writer.nested(8, (w) => w.u32(1, port).u32(2, protocol === "udp" ? 1 : 0));
  const { process } = config;
  if (process) writer.nested(9, (w) => writeProcess(w, process, firstSocket));
  for (const { glob, field } of config.errorLogs) {
    writer.nested(10, (w) => {
      w.text(1, absolute(glob, "an error log"));
      if (field !== undefined) w.text(2, single(field, "an error log's field"));
    });
  }
  if (config.shmSize !== undefined) writer.u64(11, config.shmSize);
  return bounded(writer.finish());
}

/** @throws AegisError GUEST_CONFIG */
export function encodeProcess(process: ProcessSpec, firstSocket = 0): Buffer {
  const writer = new FieldWriter();
  writeProcess(writer, process, firstSocket);
  return bounded(writer.finish());
}

export function encodeClock(now: Date): Buffer {
  return new FieldWriter().u64(1, BigInt(now.getTime()) * 1_000_000n).finish();
}

export function encodeShutdown(options: ShutdownOptions): Buffer {
  const how = { restart: 0, powerOff: 1, halt: 2 } as const;
  return new FieldWriter()
    .u32(1, options.signal)
    .u32(2, Math.min(Math.max(0, Math.round(options.graceMs)), 0x7fff_ffff))
    .u32(3, how[options.how ?? "restart"])
    .finish();
}

export function encodeU32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, i * 4);
  return bytes;
}

/** @throws MalformedMessage */
export function decodeHello(payload: Buffer): GuestHello {
  const fields = new Fields(payload);
  return {
    protocolVersion: must(fields.u32(1), "hello without a version"),
    harnessVersion: fields.text(2, 64) ?? "",
    kernelRelease: fields.text(3, 64) ?? "",
    memoryBytes: must(fields.u64(4), "hello without the memory's size"),
    cpus: must(fields.u32(5), "hello without the number of processors"),
  };
}

/** Of FRAME_OK to boot and exec. */
export function decodeStarted(payload: Buffer): number | undefined {
  return new Fields(payload).u32(1);
}

export function decodeError(payload: Buffer): { readonly errno: string; readonly message: string } {
  const fields = new Fields(payload);
  return { errno: fields.text(1, 32) ?? "EIO", message: fields.text(2) ?? "unknown failure" };
}

const stages: readonly string[] = ["exec", "user", "group", "cwd", "limit", "sandbox"] satisfies StartError["stage"][];

/** @throws MalformedMessage */
export function decodeExit(payload: Buffer): ProcessExit {
  const fields = new Fields(payload);
  const start = fields.nested(4);
  const stage = start?.text(4, 12) ?? "exec";
  const startError: StartError | undefined = start && {
    errno: start.text(1, 32) ?? "EIO",
    path: start.text(2) ?? "",
    interpreter: start.text(3, 256),
    stage: (stages.includes(stage) ? stage : "exec") as StartError["stage"],
  };
  const code = fields.u32(1);
  const signal = fields.u32(2);
  if (!startError && code === undefined && signal === undefined) throw new MalformedMessage("an exit without a status");
  if ((code ?? 0) > 255 || (signal ?? 0) > 127) throw new MalformedMessage("an exit status out of range");
  return { code, signal, oomKilled: fields.u32(3) === 1, ...(startError && { startError }) };
}

/**
 * undefined: an event of a kind that this version does not know, or a log line that tells of no error.
 * @throws MalformedMessage
 */
export function decodeEvent(payload: Buffer, errorLogs: BootConfig["errorLogs"]): GuestEvent | undefined {
  const fields = new Fields(payload);
  switch (fields.u32(1)) {
    case 1:
      return {
        type: "oom",
        pid: fields.u32(2) ?? 0,
        name: fields.text(3, 64) ?? "",
        rssBytes: fields.u64(4) ?? 0,
      };
    case 2:
      return {
        type: "port",
        port: must(fields.u32(5), "a port event without a port") & 0xffff,
        protocol: fields.u32(6) === 1 ? "udp" : "tcp",
        listening: fields.u32(7) === 1,
      };
    case 3:
      return errorLogEvent(fields, errorLogs);
    case 4:
      return { type: "warning", message: fields.text(3) ?? "" };
    case 5:
      return { type: "diskFull", disk: fields.u32(10) ?? 0, sizeBytes: fields.u64(4) ?? 0 };
    default:
      return undefined;
  }
}

function errorLogEvent(fields: Fields, errorLogs: BootConfig["errorLogs"]): GuestEvent | undefined {
  const rule = errorLogs[fields.u32(9) ?? -1];
  if (!rule) throw new MalformedMessage("a line of an error log that nobody asked for");
  const line = errorOfLine(fields.text(8, 8192) ?? "", rule.field);
  return line === undefined ? undefined : { type: "errorlog", path: fields.text(3) ?? "", line };
}

/** @throws MalformedMessage */
export function decodeStats(payload: Buffer): GuestStats {
  const fields = new Fields(payload);
  const count = (tag: number) => must(fields.u64(tag), "statistics with a gap");
  return {
    cpuUsec: count(1),
    memoryUsedBytes: count(2),
    diskReadBytes: count(3),
    diskWrittenBytes: count(4),
    networkReceivedBytes: count(5),
    networkSentBytes: count(6),
    connections: must(fields.u32(7), "statistics with a gap"),
    processes: must(fields.u32(8), "statistics with a gap"),
  };
}

function writeProcess(writer: FieldWriter, process: ProcessSpec, firstSocket: number): void {
  for (const argument of process.argv) writer.text(1, single(argument, "an argument"));
  for (const variable of process.env) writer.text(2, single(variable, "an environment variable"));
  writer
    .text(3, single(process.user, "the user"))
    .text(4, absolute(process.cwd, "the working directory"))
    .u64(6, capabilityMask(process))
    .u32(7, (process.createCwd ? 1 : 0) | (process.privileged ? 2 : 0));
  if (process.tty) writer.bytes(5, encodeU32(process.tty.rows, process.tty.cols));
  const { sandbox } = process;
  if (sandbox) writer.nested(8, (w) => writeSandbox(w, sandbox, firstSocket));
  for (const group of process.groups ?? []) writer.u32(10, group);
  for (const limit of process.limits ?? []) writer.nested(9, (w) => writeLimit(w, limit));
}

function writeSandbox(writer: FieldWriter, sandbox: SandboxSpec, firstSocket: number): void {
  writer
    .text(1, single(sandbox.hostname, "the host name"))
    .u32(2, (sandbox.network === "none" ? 1 : 0) | (sandbox.insecure ? 2 : 0));
  for (const mount of sandbox.mounts) writer.nested(3, (w) => writeMount(w, mount));
  for (const [i, { target, mode, uid, gid }] of (sandbox.sockets ?? []).entries()) {
    writer.nested(3, (w) => {
      w.u32(1, socketMount)
        .text(2, absolute(target, "a socket's path"))
        .u32(4, firstSocket + i);
      w.u32(7, mode).u32(8, uid).u32(9, gid);
    });
  }
  for (const file of sandbox.files) writer.nested(4, (w) => writeFile(w, file));
  for (const host of sandbox.extraHosts) writer.nested(5, (w) => writeHost(w, host));
  if (sandbox.shmSize !== undefined) writer.u64(6, sandbox.shmSize);
}

function writeLimit(writer: FieldWriter, limit: ResourceLimit): void {
  const resource = limits.indexOf(limit.name.toLowerCase());
  if (resource < 0) {
    throw new AegisError("BAD_LIMIT", `"${limit.name}" is not a resource limit`, {
      hint: `one of ${limits.join(", ")}`,
    });
  }
  const value = (n: number) => (n < 0 ? 0xffff_ffff_ffff_ffffn : BigInt(n));
  writer.u32(1, resource).u64(2, value(limit.soft)).u64(3, value(limit.hard));
}

function writeHost(writer: FieldWriter, host: { readonly address: string; readonly name: string }): void {
  writer.text(1, single(host.address, "a host's address")).text(2, single(host.name, "a host's name"));
}

function writeMount(writer: FieldWriter, mount: GuestMount): void {
  writer.u32(1, mountTypes[mount.type]).text(2, absolute(mount.target, "a mount's target"));
  let flags = mount.readOnly ? mountFlags.readOnly : 0;
  switch (mount.type) {
    case "virtiofs":
      writer.text(3, single(mount.tag, "a share's tag"));
      if (mount.file !== undefined) writer.text(10, single(mount.file, "a shared file's name"));
      break;
    case "bind":
      writer.text(3, absolute(mount.source, "a mount's source"));
      break;
    case "disk":
      writer.text(3, absolute(mount.subpath, "a path on a disk")).u32(4, mount.disk);
      if (mount.mode !== undefined) {
        writer
          .u32(7, mount.mode)
          .u32(8, mount.uid ?? 0)
          .u32(9, mount.gid ?? 0);
      }
      if (mount.copyUp) flags |= mountFlags.copyUp;
      if (mount.discard) flags |= mountFlags.discard;
      break;
    case "tmpfs":
      if (mount.size !== undefined) writer.u64(6, mount.size);
      if (mount.mode !== undefined) writer.u32(7, mount.mode);
      if (mount.uid !== undefined) writer.u32(8, mount.uid);
      if (mount.gid !== undefined) writer.u32(9, mount.gid);
      if (mount.noexec) flags |= mountFlags.noexec;
  }
  writer.u32(5, flags);
}

function writeFile(writer: FieldWriter, file: GuestFile): void {
  writer
    .text(1, absolute(file.path, "a file's path"))
    .u32(2, file.mode)
    .text(3, single(file.owner, "a file's owner"))
    .bytes(4, file.content)
    .u32(5, file.persistent ? 1 : 0);
}

function ipv4(address: string): Buffer {
  const parts = address.split(".").map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : 256));
  if (parts.length !== 4 || parts.some((part) => part > 255)) throw bad(`"${address}" is not an IPv4 address`);
  return Buffer.from(parts);
}

function single(text: string, what: string): string {
  if (text.includes("\0")) throw bad(`${what} holds a NUL byte`);
  return text;
}

function absolute(path: string, what: string): string {
  if (!path.startsWith("/")) throw bad(`${what} is not absolute: "${path}"`);
  if (Buffer.byteLength(path) > 4000) throw bad(`${what} is too long`);
  return single(path, what);
}

function bounded(message: Buffer): Buffer {
  if (message.length <= MAX_MESSAGE) return message;
  throw bad(`files, arguments and environment together are ${message.length} bytes, the guest takes ${MAX_MESSAGE}`);
}

function bad(message: string): AegisError {
  return new AegisError("GUEST_CONFIG", message, { hint: "correct it in the image's or the instance's settings" });
}

function must<T>(value: T | undefined, problem: string): T {
  if (value === undefined) throw new MalformedMessage(problem);
  return value;
}
