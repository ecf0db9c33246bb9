/**
 * System calls that a step may not make, as runc takes them: what Docker's documentation lists as blocked by its default
 * profile and the default capabilities don't stop anyway. Everything else is let through; a step that is to be kept from
 * this host for good runs in a machine.
 */

interface Rule {
  readonly names: readonly string[];
  readonly action: "SCMP_ACT_ERRNO";
  readonly errnoRet: number;
  readonly args?: readonly {
    readonly index: number;
    readonly value: number;
    readonly valueTwo?: number;
    readonly op: "SCMP_CMP_EQ" | "SCMP_CMP_MASKED_EQ";
  }[];
}

const EPERM = 1;
const ENOSYS = 38;

/** Kernel-wide state: keys, modules, clocks, swap, tracing of others, mounts. */
const blocked = (
  "acct add_key bpf clock_adjtime clock_adjtime64 clock_settime clock_settime64 create_module delete_module finit_module " +
  "fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup " +
  "ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr move_mount " +
  "move_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root query_module quotactl quotactl_fd reboot " +
  "request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday stime swapoff swapon sysfs " +
  "_sysctl syslog umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old"
).split(" ");

/** CLONE_NEWTIME excepted, which is a signal number for clone(2): linux/sched.h. */
const namespaceFlags = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000];

/** linux/socket.h: sockets to the hypervisor. */
const AF_VSOCK = 40;

const refuse = (names: readonly string[], errnoRet = EPERM): Rule => ({ names, action: "SCMP_ACT_ERRNO", errnoRet });

/** `linux.seccomp` of the OCI runtime specification. */
export function seccompProfile(architecture: string): object {
  const architectures = {
    amd64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    arm64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
  }[architecture];
  return {
    defaultAction: "SCMP_ACT_ALLOW",
    ...(architectures === undefined ? {} : { architectures }),
    syscalls: [
      refuse(blocked),
      // Its flags lie in memory, out of a filter's sight; libraries fall back to clone.
      refuse(["clone3"], ENOSYS),
      ...namespaceFlags.map((flag) => ({
        ...refuse(["clone"]),
        args: [{ index: 0, value: flag, valueTwo: flag, op: "SCMP_CMP_MASKED_EQ" as const }],
      })),
      { ...refuse(["socket"]), args: [{ index: 0, value: AF_VSOCK, op: "SCMP_CMP_EQ" as const }] },
    ],
  };
}
