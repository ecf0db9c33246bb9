import { describe, expect, test } from "vitest";
import { kernelCommandLine } from "../../../src/vmm/command-line.js";
import { krunConfig } from "../../../src/vmm/krun.js";
import { qemuArguments } from "../../../src/vmm/qemu-arguments.js";
import type { MachineSpec } from "../../../src/vmm/types.js";

const spec: MachineSpec = {
  name: "web, really",
  memoryMiB: 512,
  cpus: 2,
  kernel: "/k",
  bootDisk: "/boot.img",
  disks: [
    { path: "/base, with comma.img", readOnly: true },
    { path: '/upper"quoted".img', readOnly: false },
  ],
  shares: [],
  consoleLog: "/console.log",
  socketDir: "/s",
};
const tcg = { accelerator: "tcg", tscKhz: 2_596_000, shareSockets: [] } as const;

/** Values of the options called `name`, parsed where they are JSON. */
function options(args: readonly string[], name: string): Record<string, unknown>[] {
  return args.flatMap((arg, i) => (arg === name && args[i + 1]!.startsWith("{") ? [JSON.parse(args[i + 1]!)] : []));
}

describe("a machine as QEMU's arguments", () => {
  test("disks come in order from the highest transport down, the boot disk last, all of them raw", () => {
    const args = qemuArguments(spec, tcg);
    expect(
      options(args, "-blockdev").map((disk) => [
        disk.driver,
        disk["read-only"],
        (disk.file as { filename: string }).filename,
      ]),
    ).toEqual([
      ["raw", true, "/base, with comma.img"],
      ["raw", false, '/upper"quoted".img'],
      ["raw", true, "/boot.img"],
    ]);
    const blocks = options(args, "-device").filter((device) => device.driver === "virtio-blk-device");
    expect(blocks.map((device) => device.bus)).toEqual(["virtio-mmio-bus.7", "virtio-mmio-bus.6", "virtio-mmio-bus.5"]);
    expect(args[args.indexOf("-append") + 1]).toContain("root=/dev/vdc ");
  });

  test("no two devices share a transport, and the clock's IRQ is taken only when all others are", () => {
    const disks = (count: number) => Array.from({ length: count }, (_, i) => ({ path: `/${i}`, readOnly: true }));
    const buses = (count: number) => {
      const devices = options(qemuArguments({ ...spec, disks: disks(count) }, tcg), "-device");
      return devices.map((device) => String(device.bus)).filter((bus) => bus.startsWith("virtio-mmio"));
    };
    for (const count of [0, 1, 3, 5]) {
      expect(new Set(buses(count)).size).toBe(buses(count).length);
      expect(buses(count)).not.toContain("virtio-mmio-bus.3");
    }
    expect(buses(6)).toContain("virtio-mmio-bus.3");
    expect(() => buses(7)).toThrow(expect.objectContaining({ code: "TOO_MANY_DEVICES" }));
  });

  test("an optional device is left out where a needed one wants its place", () => {
    const drivers = (disks: number) =>
      options(
        qemuArguments({ ...spec, disks: Array.from({ length: disks }, () => spec.disks[0]!) }, tcg),
        "-device",
      ).map((device) => device.driver);
    expect(drivers(2)).toEqual(expect.arrayContaining(["virtio-rng-device", "virtio-balloon-device"]));
    expect(drivers(4)).toContain("virtio-rng-device");
    expect(drivers(4)).not.toContain("virtio-balloon-device");
    expect(drivers(5)).not.toContain("virtio-rng-device");
  });

  test("shares get shared memory, one socket and one device each", () => {
    const shares = [{ tag: "work", hostPath: "/work", readOnly: false }];
    const args = qemuArguments({ ...spec, shares }, { ...tcg, shareSockets: ["/s/a,b.sock"] });
    expect(args).toContain("socket,id=share0,path=/s/a,,b.sock");
    expect(args.find((arg) => arg.startsWith("microvm"))).toContain("memory-backend=mem");
    expect(options(args, "-object")).toMatchObject([{ size: 512 * 2 ** 20, share: true }]);
  });

  test("the network is a stream socket; without one there is no card", () => {
    const network = { socket: "/s/net.sock", mac: "5a:94:ef:e4:0c:ee" };
    expect(options(qemuArguments({ ...spec, network }, tcg), "-netdev")).toMatchObject([
      { type: "stream", server: false, addr: { type: "unix", path: "/s/net.sock" } },
    ]);
    expect(qemuArguments(spec, tcg)).not.toContain("-netdev");
  });

  test("only an emulated guest takes its timer on trust", () => {
    const append = (args: readonly string[]) => args[args.indexOf("-append") + 1]!.split(" ");
    expect(append(qemuArguments(spec, tcg))).toContain("no_timer_check");
    expect(append(qemuArguments(spec, { accelerator: "kvm", shareSockets: [] }))).not.toContain("no_timer_check");
  });

  test("only an emulated guest is told the rate of the host's time stamp counter", () => {
    expect(kernelCommandLine(spec, { reboot: "t", tscKhz: 2_596_000 })).toContain("tsc_early_khz=2596000");
    expect(kernelCommandLine(spec, { reboot: "k" })).not.toContain("tsc");
  });
});

test("libkrun's launcher gets every path whole, the library first", () => {
  const records = krunConfig(
    { ...spec, shares: [{ tag: "w", hostPath: "/a=b:c\nd", readOnly: false }] },
    "/lib.so",
    "elf",
  )
    .toString()
    .split("\0");
  expect(records[0]).toBe("library=/lib.so");
  expect(records.slice(-5, -1)).toEqual([
    "disk.ro=/base, with comma.img",
    'disk.rw=/upper"quoted".img',
    "disk.ro=/boot.img",
    "share=w:/a=b:c\nd",
  ]);
  expect(records.at(-1)).toBe("");
});
