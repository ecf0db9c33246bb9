import path from "node:path";
import { configDefaults, defineConfig } from "vitest/config";

/** Tests compare the modes of files that they make, whatever the umask of whoever runs them. */
process.umask(0o022);

/** Homes of tests find the parts that set-up put into the one home that is not theirs. */
if (process.env.AEGIS_HOME) process.env.AEGIS_DEPS ??= path.resolve(process.env.AEGIS_HOME, "deps");

/** clipanion's ESM build imports a directory, which only a bundler resolves. */
const server = { deps: { inline: ["clipanion"] } };

/**
 * Files called `*.root.test.ts` need root: kernel mounts, device nodes and foreign owners, RUN in containers, and shared
 * directories with QEMU 7's virtiofsd.
 */
const exclude = [...configDefaults.exclude, ...(process.getuid?.() === 0 ? [] : ["**/*.root.test.ts"])];

/** Unit tests need no VM and no root; interop tests use other people's tools; vm tests boot real guests. */
export default defineConfig({
  test: {
    globalSetup: "scripts/build-threads.mjs",
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 20_000, hookTimeout: 60_000, server } },
      {
        test: {
          name: "interop",
          include: ["test/interop/**/*.test.ts"],
          exclude,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          server,
        },
      },
      {
        test: {
          name: "vm",
          include: ["test/vm/**/*.test.ts"],
          exclude,
          testTimeout: 600_000,
          hookTimeout: 900_000,
          maxWorkers: 2,
          server,
        },
      },
      {
        test: {
          name: "openclaw",
          include: ["test/openclaw/**/*.test.ts"],
          exclude,
          bail: 1,
          testTimeout: 420_000,
          hookTimeout: 600_000,
          server,
        },
      },
    ],
  },
});
