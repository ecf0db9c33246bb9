/** A VM with everything around it, against bare QEMU with the same kernel: time to the first user process, host memory. */
import { once } from "node:events";
import { type BenchRow, bytes, ms, timeShell } from "../bench.js";
import { baseName, commandLine } from "../images.js";
import { bareVm, memoryOf, startBare, withInstance } from "../qemu.js";

const row: BenchRow = async (bench) => {
  const cli = await commandLine(bench);
  const seen = await withInstance(cli, baseName, async (processes) => ({
    memory: await memoryOf(processes.keys()),
    processes: processes.size,
    qemu: [...processes.values()].find(([command]) => command?.includes("qemu-system")),
  }));
  if (!seen.qemu) throw new Error("the instance does not run under QEMU; set AEGIS_VMM=qemu");
  const boots = await bareVm(bench, cli, seen.qemu, "echo up and running; exec /bin/busybox reboot -f");
  let ours = Number.POSITIVE_INFINITY;
  let bare = Number.POSITIVE_INFINITY;
  for (let round = 0; round < bench.repeat; round++) {
    ours = Math.min(
      ours,
      await timeShell(`${cli.aegis} run --rm ${baseName} echo up and running | grep -q -m 1 up`, cli.env),
    );
    const started = process.hrtime.bigint();
    const child = await startBare(boots, "up and running");
    bare = Math.min(bare, Number(process.hrtime.bigint() - started) / 1e6);
    await once(child, "exit");
  }
  const sleeps = await bareVm(bench, cli, seen.qemu, "echo up and running; exec /bin/busybox sleep 300");
  const child = await startBare(sleeps, "up and running");
  const bareMemory = await memoryOf([child.pid!]);
  child.kill("SIGKILL");
  await once(child, "exit");
  return [
    {
      what: "aegis run --rm: from the command to the first output of the app and the end",
      ours: ms(ours),
      peer: { ...ms(bare), name: "bare QEMU to its first output" },
    },
    {
      what: `host memory of an idle VM of 256 MB (${seen.processes} processes, PSS)`,
      ours: bytes(seen.memory),
      peer: { ...bytes(bareMemory), name: "bare QEMU" },
    },
  ];
};

export default row;
