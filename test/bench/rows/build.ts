/**
 * Builds as a person types them, start to finish, against buildah and, where one answers, a Docker engine: the same files from the same base
 * in the same run, all on the host's network, which is what an engine without a bridge has. `DOCKER_HOST` (and DOCKER_CONFIG, PATH) say
 * where the engine is; without one its lines are left out. An engine that somebody prunes meanwhile fails the row: give it one of its own.
 */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Bench, type BenchLine, type BenchRow, ms, shell, timeShell } from "../bench.js";
import { baseName, commandLine } from "../images.js";

interface Builder {
  readonly name: string;
  readonly env: NodeJS.ProcessEnv;
  /** The command that builds the context at `directory`. */
  build(directory: string, flags: string): string;
  /** Takes back what it left outside of the scratch directory. */
  dispose?(): Promise<unknown>;
}

interface Sample {
  readonly what: string;
  readonly flags?: string;
  /** Text of the file that is changed before every build; all builders see the same. */
  readonly change?: { readonly file: string; readonly text: (round: number) => string };
}

const steps = `FROM ${baseName}
RUN mkdir -p /data && for i in $(seq 100); do echo $i > /data/$i; done
RUN cat /data/* > /summary
WORKDIR /app
CMD ["sh", "main.sh"]
COPY app /app
`;

const wide = [
  `FROM ${baseName} AS root`,
  ...Array.from({ length: 20 }, (_, i) => `FROM root AS stage${i}\nRUN seq 1 20000 | sort -r > /out${i}`),
  "FROM root",
  ...Array.from({ length: 20 }, (_, i) => `COPY --from=stage${i} /out${i} /out/`),
  "",
].join("\n");

const many = `FROM ${baseName}\nCOPY . /context\n`;

const row: BenchRow = async (bench) => {
  const { aegis, env, base } = await commandLine(bench);
  const builders: Builder[] = [
    {
      name: "aegis",
      env,
      build: (directory, flags) =>
        `${aegis} build -q --isolation container --network host ${flags} -t bench ${directory}`,
    },
    await buildahWith(bench, base),
  ];
  const docker = await dockerWith(base);
  if (docker) builders.push(docker);
  const change = { file: "app/main.sh", text: (round: number) => `echo hello ${round}\n` };
  const small = await contextOf(bench, "small", steps, { "app/main.sh": "echo hello\n" });
  const fan = await contextOf(bench, "fan", wide, {});
  const large = await contextOf(bench, "large", many, largeContext(bench.heavy ? 100_000 : 20_000));
  const files = bench.heavy ? "100,000 files" : "20,000 files";
  const oneFile = { file: "d0/f0", text: (round: number) => `changed ${round}\n` };
  try {
    return [
      ...(await measure(bench, builders, small, [
        { what: "two RUNs and a COPY: cold", flags: "--no-cache" },
        { what: "two RUNs and a COPY: everything cached" },
        { what: "two RUNs and a COPY: one file of the COPY changed", change },
      ])),
      ...(await measure(bench, builders, fan, [
        { what: "20 stages side by side: cold", flags: "--no-cache" },
        { what: "20 stages side by side: everything cached" },
      ])),
      ...(await measure(bench, builders, large, [
        { what: `context of ${files}: cold`, flags: "--no-cache" },
        { what: `context of ${files}: nothing changed` },
        { what: `context of ${files}: one changed`, change: oneFile },
      ])),
    ];
  } finally {
    for (const builder of builders) await builder.dispose?.();
  }
};

/** Ours against each of the others: the fastest of several rounds, in which the builders take turns. */
async function measure(
  bench: Bench,
  builders: readonly Builder[],
  directory: string,
  samples: readonly Sample[],
): Promise<BenchLine[]> {
  for (const { build, env } of builders) await shell(build(directory, ""), env);
  const lines: BenchLine[] = [];
  for (const { what, flags = "", change } of samples) {
    const best = builders.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round < bench.repeat; round++) {
      if (change) await writeFile(path.join(directory, change.file), change.text(round));
      for (const [i, { build, env }] of builders.entries()) {
        best[i] = Math.min(best[i]!, await timeShell(build(directory, flags), env));
      }
    }
    const [ours, ...others] = best;
    for (const [i, value] of others.entries()) {
      const { name } = builders[i + 1]!;
      lines.push({ what, ours: ms(ours!), peer: { ...ms(value), name }, ...goalOf(what, name, ours!, value) });
    }
  }
  return lines;
}

function goalOf(what: string, peer: string, ours: number, theirs: number): Pick<BenchLine, "goal"> {
  if (what.endsWith("everything cached")) {
    return peer.startsWith("docker")
      ? { goal: { text: "at most half of it", met: ours <= theirs / 2 } }
      : { goal: { text: "less than it", met: ours < theirs } };
  }
  if (!what.endsWith(": cold") || !peer.startsWith("docker")) return {};
  return { goal: { text: "not slower", met: ours <= theirs } };
}

async function contextOf(
  bench: Bench,
  name: string,
  dockerfile: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const directory = path.join(bench.scratch, name);
  const directories = new Set([".", ...Object.keys(files).map((file) => path.dirname(file))]);
  for (const child of directories) await mkdir(path.join(directory, child), { recursive: true });
  for (const [file, text] of Object.entries({ ...files, Dockerfile: dockerfile })) {
    await writeFile(path.join(directory, file), text);
  }
  return directory;
}

const largeContext = (count: number): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [
      `d${Math.floor(i / 100)}/f${i % 100}`,
      `file ${i}\n`.repeat(1 + (i % 50)),
    ]),
  );

/** A buildah with a store of its own that has the base image. */
async function buildahWith(bench: Bench, base: string): Promise<Builder> {
  const store = path.join(bench.scratch, "buildah");
  const buildah = `buildah --root ${store}/root --runroot ${store}/run --storage-driver overlay`;
  await shell(`
    container=$(${buildah} from scratch)
    ${buildah} add -q $container ${base} /
    ${buildah} commit -q $container ${baseName}
    ${buildah} rm $container
  `);
  return {
    name: "buildah bud --isolation chroot",
    env: {},
    build: (directory, flags) => `${buildah} bud -q --isolation chroot --layers ${flags} -t bench ${directory}`,
    // Its store's directory is a mount of itself.
    dispose: () => shell(`umount -l ${store}/root/overlay 2>/dev/null || :`),
  };
}

/** The engine that `docker` reaches, with the base image in it; undefined when none answers. */
async function dockerWith(base: string): Promise<Builder | undefined> {
  try {
    await shell("docker version");
  } catch {
    return undefined;
  }
  await shell(`docker import ${base} ${baseName}`);
  return {
    name: "docker build",
    env: {},
    build: (directory, flags) => `docker build -q --network=host ${flags} -t aegis-bench ${directory}`,
    dispose: () => shell(`docker rmi -f aegis-bench ${baseName} || :`),
  };
}

export default row;
