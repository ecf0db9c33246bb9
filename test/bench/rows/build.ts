/** The same Dockerfile from the same base, against buildah: every step run, one file changed, everything cached. */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { alternate, type Bench, type BenchLine, type BenchRow, ms, shell, timeShell } from "../bench.js";
import { baseName, commandLine } from "../images.js";

const dockerfile = `FROM ${baseName}
COPY app /app
RUN mkdir -p /data && for i in $(seq 100); do echo $i > /data/$i; done
RUN cat /app/main.sh /data/* > /summary
WORKDIR /app
CMD ["sh", "main.sh"]
`;

const row: BenchRow = async (bench) => {
  const { aegis, env, base } = await commandLine(bench);
  const context = path.join(bench.scratch, "context");
  await mkdir(path.join(context, "app"), { recursive: true });
  await writeFile(path.join(context, "Dockerfile"), dockerfile);
  await writeFile(path.join(context, "app/main.sh"), "echo hello\n");
  const buildah = await buildahWith(bench, base);
  const builds = {
    ours: (flags: string) => `${aegis} build -q ${flags} -t bench ${context}`,
    peer: (flags: string) => `${buildah} bud -q --isolation chroot --layers ${flags} -t bench ${context}`,
  };
  const line = async (what: string, flags: string, before: () => Promise<unknown>): Promise<BenchLine> => {
    const [ours, peer] = await alternate(
      bench.repeat,
      async () => await timeShell(builds.ours(flags), env),
      async () => await timeShell(builds.peer(flags)),
      before,
    );
    return { what, ours: ms(ours), peer: { ...ms(peer), name: "buildah bud --isolation chroot" } };
  };
  await shell(`${builds.ours("")} && ${builds.peer("")}`, env);
  let round = 0;
  // The same new content for both sides, other content than ever before.
  const change = async () => await writeFile(path.join(context, "app/main.sh"), `echo hello ${round++ >> 1}\n`);
  return [
    await line("build of two RUNs, --no-cache", "--no-cache", async () => undefined),
    await line("build after a change of one copied file", "", change),
    await line("build, everything cached", "", async () => undefined),
  ];
};

/** A buildah with a store of its own that has the base image. */
async function buildahWith(bench: Bench, base: string): Promise<string> {
  const store = path.join(bench.scratch, "buildah");
  const buildah = `buildah --root ${store}/root --runroot ${store}/run --storage-driver overlay`;
  await shell(`
    container=$(${buildah} from scratch)
    ${buildah} add -q $container ${base} /
    ${buildah} commit -q $container ${baseName}
    ${buildah} rm $container
  `);
  return buildah;
}

export default row;
