/** QEMU without anything of aegis around it but its kernel: what an exported disk has to boot under. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { openHome } from "../../src/support/home.js";
import { ensureBootFiles } from "../../src/vmm/index.js";

/** Boots `disk` as /dev/vda with the program `init` on it as process 1; what its console said when it has ended. */
export async function bootPlainly(env: NodeJS.ProcessEnv, disk: string, init: string): Promise<string> {
  const { kernel } = await ensureBootFiles(openHome(env));
  // No arguments for init: QEMU adds to the end of this line where its devices are.
  const append = `console=hvc0 root=/dev/vda rootfstype=ext4 rw quiet panic=-1 reboot=t init=${init}`;
  const qemu = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg,thread=single", "-cpu", "max", "-m", "256M", "-no-reboot"],
      ...["-M", "microvm,acpi=off,pit=on,pic=on,isa-serial=off", "-global", "virtio-mmio.force-legacy=false"],
      ...["-nodefaults", "-no-user-config", "-display", "none", "-kernel", kernel, "-append", append],
      ...["-drive", `if=none,id=root,format=raw,file=${disk}`, "-device", "virtio-blk-device,drive=root"],
      ...["-chardev", "stdio,id=console", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=console"],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    return await text(qemu.stdout);
  } finally {
    qemu.kill("SIGKILL");
  }
}
