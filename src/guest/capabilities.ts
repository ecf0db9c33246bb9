import { AegisError } from "../support/errors.js";

/** Index is the capability's number (linux/capability.h). */
const names = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split(" ");

/** What Docker leaves to a container. */
const defaults =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE".split(
    " ",
  );

const all = (1n << BigInt(names.length)) - 1n;

function bitsOf(given: string): bigint {
  const name = given.toUpperCase().replace(/^CAP_/, "");
  if (name === "ALL") return all;
  const number = names.indexOf(name);
  if (number < 0) {
    throw new AegisError("BAD_CAPABILITY", `"${given}" is not a capability`, {
      hint: "capabilities(7) lists them: NET_ADMIN, SYS_PTRACE, ...",
    });
  }
  return 1n << BigInt(number);
}

/**
 * The capability mask of a process, as Docker computes it: defaults or all, what is added, without what is dropped; with
 * ALL dropped, what is added stays.
 * @throws AegisError BAD_CAPABILITY
 */
export function capabilityMask(options: {
  readonly privileged?: boolean | undefined;
  readonly capAdd?: readonly string[] | undefined;
  readonly capDrop?: readonly string[] | undefined;
}): bigint {
  if (options.privileged) return all;
  const union = (list: readonly string[]) => list.reduce((mask, name) => mask | bitsOf(name), 0n);
  const added = union(options.capAdd ?? []);
  const dropped = union(options.capDrop ?? []);
  if (dropped === all) return added === all ? 0n : added;
  return (union(defaults) | added) & ~dropped;
}
