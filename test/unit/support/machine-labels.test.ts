import { describe, expect, it } from "vitest";
import { machineLabels, readMachineLabels } from "../../../src/support/machine-labels.js";

describe("labels of the machine", () => {
  it("come back as they were written", () => {
    const settings = {
      memory: "2g",
      cpus: "2",
      disk: undefined,
      idle: "10m",
      restart: undefined,
      workspace: "/workspace",
      secrets: [{ name: "KEY", env: "API_KEY", required: true }],
      renders: [{ path: "/etc/app.json", mode: "0600", template: '{{ secret "KEY" | json }}' }],
      errorLogs: [{ glob: "/var/log/*.jsonl", field: "message" }],
    };
    expect(readMachineLabels(machineLabels(settings))).toEqual(settings);
  });

  it("of other tools are ignored", () => {
    expect(readMachineLabels({ maintainer: "me" }).memory).toBeUndefined();
  });

  it("that make no sense are a coded error", () => {
    for (const text of ["{", "{}", '[{"name":1,"required":true}]', "[null]"]) {
      expect(() => readMachineLabels({ "dev.aegis.secrets": text })).toThrow(
        expect.objectContaining({ code: "MACHINE_LABELS_INVALID" }),
      );
    }
  });
});
