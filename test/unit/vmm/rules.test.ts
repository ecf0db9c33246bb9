import { describe, expect, test } from "vitest";
import { decideDriver } from "../../../src/vmm/choose.js";
import { installCommand, managerOf } from "../../../src/vmm/doctor/system.js";
import { judgeKvm, type KvmFacts } from "../../../src/vmm/kvm.js";
import { findMirror } from "../../../src/vmm/parts/apt-sources.js";

describe("hardware virtualization", () => {
  const good: KvmFacts = { platform: "linux", arch: "x64", deviceError: undefined, cpuinfo: "flags\t\t: fpu svm lm\n" };
  test.each([
    ["the device opens and the processor has svm", good, true],
    ["vmx counts alike", { ...good, cpuinfo: "flags : fpu vmx" }, true],
    ["a device without the flag does not", { ...good, cpuinfo: "flags : fpu lm\nbugs : vmxish" }, false],
    ["no device", { ...good, deviceError: "ENOENT" }, false],
    ["a device that may not be opened", { ...good, deviceError: "EACCES" }, false],
    ["arm needs no flag", { ...good, arch: "arm64", cpuinfo: "" }, true],
    ["a Mac with Apple silicon", { ...good, platform: "darwin", arch: "arm64" }, true],
    ["a Mac without", { ...good, platform: "darwin" }, false],
  ] as [string, KvmFacts, boolean][])("%s", (_, facts, usable) => {
    expect(judgeKvm(facts)).toMatchObject({ usable, reason: expect.any(String) });
  });
});

describe("the choice of a VMM", () => {
  const yes = { usable: true, reason: "" };
  const no = { usable: false, reason: "there is no /dev/kvm" };
  test("libkrun where it can run, else QEMU", () => {
    expect(decideDriver(undefined, { kvm: yes, krun: true, qemu: true })).toBe("krun");
    expect(decideDriver(undefined, { kvm: no, krun: true, qemu: true })).toBe("qemu");
    expect(decideDriver(undefined, { kvm: yes, krun: false, qemu: true })).toBe("qemu");
  });
  test("what is asked for wins, or says why it can't", () => {
    expect(decideDriver("qemu", { kvm: yes, krun: true, qemu: true })).toBe("qemu");
    const code = (asked: string | undefined, facts: Parameters<typeof decideDriver>[1]) => {
      try {
        return decideDriver(asked, facts);
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code("krun", { kvm: no, krun: true, qemu: true })).toBe("KVM_UNUSABLE");
    expect(code("krun", { kvm: yes, krun: false, qemu: true })).toBe("VMM_MISSING");
    expect(code("qemu", { kvm: yes, krun: true, qemu: false })).toBe("VMM_MISSING");
    expect(code("vbox", { kvm: yes, krun: true, qemu: true })).toBe("VMM_UNKNOWN");
    expect(code(undefined, { kvm: no, krun: true, qemu: false })).toBe("VMM_MISSING");
  });
});

describe("how packages get onto a host", () => {
  test("by os-release's ID and ID_LIKE", () => {
    expect(managerOf('ID=debian\nVERSION_ID="12"\n')).toBe("apt");
    expect(managerOf("ID=ubuntu\nID_LIKE=debian\n")).toBe("apt");
    expect(managerOf('ID="rocky"\nID_LIKE="rhel centos fedora"\n')).toBe("dnf");
    expect(managerOf("ID=alpine\n")).toBe("unknown");
  });
  test("the command is exact, and asks for root only where there is none", () => {
    expect(installCommand("apt", { apt: "runc" }, true)).toBe("apt-get install -y --no-install-recommends runc");
    expect(installCommand("dnf", { dnf: "runc" }, false)).toBe("sudo dnf install -y runc");
    expect(installCommand("brew", { apt: "runc" }, false)).toBeUndefined();
  });
});

describe("the Debian mirror in apt's sources", () => {
  const debian = "http://mirror.example/debian";
  test("of the one-line format, options and comments aside", () => {
    const list = `# deb http://old.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] ${debian}/ bookworm main contrib # here\n`;
    expect(findMirror([list])).toBe(debian);
  });
  test("of the stanza format, other vendors, security and disabled stanzas aside", () => {
    const vendor = "deb https://vendor.example/apt bookworm main\n";
    const stanzas = [
      "Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no",
      "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main",
      `Types: deb deb-src\nURIs: ${debian}\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg`,
    ].join("\n\n");
    expect(findMirror([vendor, stanzas])).toBe(debian);
  });
  test("none where there is none", () => {
    expect(findMirror(["", "deb http://archive.example/ubuntu noble main\n"])).toBeUndefined();
  });
});
