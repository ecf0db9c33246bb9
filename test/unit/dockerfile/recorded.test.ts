import { describe, expect, test } from "vitest";
import { AegisError } from "../../../src/support/errors.js";
import { suites } from "../../conformance/cases/index.js";
import type { ConformanceCase } from "../../conformance/lib/case.js";
import { readBuilds } from "../../conformance/lib/recordings.js";
import { type Evaluated, evaluate } from "./evaluate.js";

/**
 * Faults that the reference finds where it does what this room only describes: ports, signals, platforms and files. They are the builder's to
 * find, so the reader accepting them is right.
 */
const foundLater = new Set([
  "EXPOSE with a bad protocol",
  "EXPOSE with a name",
  "EXPOSE with a range backwards",
  "EXPOSE with a port too large",
  "EXPOSE in JSON form",
  "STOPSIGNAL unknown",
  "STOPSIGNAL out of range",
  "STOPSIGNAL realtime",
  "FROM with a bad platform",
  "FROM in JSON form",
  "EXPOSE with quotes",
  "check directive that makes warnings errors",
]);

function outcome(item: ConformanceCase): Evaluated | AegisError {
  const flags = item.flags ?? [];
  const values = (flag: string) => flags.flatMap((word, index) => (word === flag ? [flags[index + 1]!] : []));
  const buildArgs = new Map<string, string>();
  for (const argument of values("--build-arg")) {
    const [key, ...rest] = argument.split("=");
    const value = rest.length > 0 ? rest.join("=") : item.env?.[key!];
    if (value !== undefined) buildArgs.set(key!, value);
  }
  const target = values("--target")[0];
  try {
    return evaluate(item.dockerfile, { buildArgs, ...(target === undefined ? {} : { target }) });
  } catch (error) {
    if (error instanceof AegisError) return error;
    throw error;
  }
}

/** The parts of a recorded configuration that instructions alone decide. */
function comparable(config: Readonly<Record<string, unknown>>) {
  const inner = config.config as Readonly<Record<string, unknown>>;
  return {
    env: ((inner.Env as string[] | undefined) ?? []).filter((line) => !line.startsWith("PATH=")),
    labels: inner.Labels ?? {},
    cmd: inner.Cmd ?? undefined,
    entrypoint: inner.Entrypoint ?? undefined,
    shell: inner.Shell ?? undefined,
    onBuild: inner.OnBuild ?? [],
    volumes: Object.keys((inner.Volumes as object | undefined) ?? {}).sort(),
    user: inner.User ?? undefined,
    signal: inner.StopSignal ?? undefined,
    author: config.author ?? undefined,
    health: inner.Healthcheck ?? undefined,
  };
}

/** An empty list is left out of a configuration. */
const filled = (list: readonly string[] | undefined) => (list?.length === 0 ? undefined : list);

describe.each(["words", "language"])("what the reference builder makes of %s", (suite) => {
  const recording = readBuilds(suite);
  test.each(suites[suite]!.filter((item) => !item.flags?.includes("--label")))("$name", (item) => {
    const expected = recording[item.name]!;
    const actual = outcome(item);
    if ("error" in expected) {
      const accepted =
        foundLater.has(item.name) ||
        /failed to (calculate checksum|resolve source)|not found|did not complete/.test(expected.error);
      if (!accepted) expect(actual, `the reference says: ${expected.error}`).toBeInstanceOf(AegisError);
      return;
    }
    if (actual instanceof AegisError) throw actual;
    const { env, labels, cmd, entrypoint, shell, onBuild, user, signal, author, health } = actual;
    const volumes = [...actual.volumes].sort();
    expect({
      env,
      labels,
      cmd: filled(cmd),
      entrypoint: filled(entrypoint),
      shell,
      onBuild,
      volumes,
      user,
      signal,
      author,
      health,
    }).toEqual(comparable(expected.config));
    const files = expected.tree
      .filter((line) => / file \d/.test(line))
      .map((line) => [line.split(" file ")[0], JSON.parse(line.slice(line.indexOf('"')))]);
    expect(actual.files).toEqual(Object.fromEntries(files));
  });
});
