/** QEMU by hand with the kernel and accelerator that aegis chose: what a VM costs with nothing around it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Bench, shell } from "./bench.js";
import type { CommandLine } from "./images.js";

export interface BareVm {
  readonly arguments: readonly string[];
}

/** Command lines of running processes that belong to `home`, by pid. */
export async function processesOf(home: string, id: string): Promise<ReadonlyMap<number, readonly string[]>> {
  const found = new Map<number, readonly string[]>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const text = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (text.includes(home) || text.includes(id)) found.set(Number(name), text.split("\0"));
  }
  return found;
}

/** Bytes of memory that the processes have to themselves, shared pages counted by their share. */
export async function memoryOf(pids: Iterable<number>): Promise<number> {
  let sum = 0;
  for (const pid of pids) {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
    sum += Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  }
  return sum;
}

/** Starts an instance, hands its processes to `look`, and removes it. */
export async function withInstance<T>(
  { aegis, env, home }: CommandLine,
  image: string,
  look: (processes: ReadonlyMap<number, readonly string[]>) => Promise<T>,
): Promise<T> {
  await shell(`${aegis} run -d --memory 256m --name bench ${image} sleep 300`, env);
  try {
    const [{ id }] = JSON.parse(await shell(`${aegis} inspect bench`, env)) as [{ id: string }];
    return await look(await processesOf(home, id));
  } finally {
    await shell(`${aegis} rm -f bench`, env);
  }
}

/** The arguments of a VM that has only a kernel, a disk with busybox and this script as /init, and a console. */
export async function bareVm(
  bench: Bench,
  cli: CommandLine,
  running: readonly string[],
  script: string,
): Promise<BareVm> {
  const directory = path.join(bench.scratch, "bare");
  await mkdir(path.join(directory, "bin"), { recursive: true });
  await shell(`tar -xf ${cli.base} -C ${directory} bin/busybox`);
  await writeFile(path.join(directory, "init"), `#!/bin/busybox sh\n${script}\n`, { mode: 0o755 });
  const disk = path.join(bench.scratch, "bare.ext4");
  // The kernel opens the console for /init before anything could be mounted on /dev.
  await shell(`
    mkdir -p ${directory}/dev
    [ -e ${directory}/dev/console ] || mknod ${directory}/dev/console c 5 1
    rm -f ${disk}
    mke2fs -q -t ext4 -d ${directory} ${disk} 16m
  `);
  const given = (name: string) => running[running.indexOf(name) + 1]!;
  const same = ["-accel", "-cpu", "-M", "-global", "-smp", "-kernel"].flatMap((name) => [name, given(name)]);
  const plain = ["-m", "256M", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
  const port = ["-chardev", "stdio,id=c", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c"];
  const root = ["-drive", `if=none,id=d,format=raw,readonly=on,file=${disk}`, "-device", "virtio-blk-device,drive=d"];
  const append = ["-append", "console=hvc0 quiet panic=-1 reboot=t root=/dev/vda rootfstype=ext4 ro init=/init"];
  return { arguments: [running[0]!, ...same, ...plain, ...port, ...root, ...append] };
}

/** Starts the VM and resolves when its console says `word`. */
export async function startBare(vm: BareVm, word: string): Promise<ChildProcess> {
  const [command, ...words] = vm.arguments as [string, ...string[]];
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "ignore"] });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", () => reject(new Error(`QEMU ended without saying "${word}": ${said}`)));
    child.stdout.on("data", (chunk) => {
      said += chunk;
      if (said.includes(word)) resolve();
    });
  });
  return child;
}
