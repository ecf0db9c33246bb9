/**
 * A large application, from `aegis run` to its first healthy answer: baked into the image, against the same machine that installs
 * it when it boots, as one did by hand before. Only with --heavy, and needs the npm registry: under emulation the peer takes long.
 */
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ensureBaseImage } from "../../../scripts/base-images.mjs";
import { type BenchRow, ms, shell } from "../bench.js";
import { type CommandLine, commandLine } from "../images.js";

const version = "2026.5.28";
const longestMs = 45 * 60_000;

const row: BenchRow = async (bench) => {
  if (!bench.heavy) return [];
  const cli = await commandLine(bench);
  await shell(`${cli.aegis} import ${await ensureBaseImage("debian-node:24")} node:24`, cli.env);
  const authority = process.env.NODE_EXTRA_CA_CERTS;
  const secret = authority ? `--secret id=ca,src=${authority}` : "";
  await shell(
    `${cli.aegis} build --quiet ${secret} --build-arg OPENCLAW_VERSION=${version} -t baked ${path.join(bench.root, "fixtures/openclaw")}`,
    cli.env,
  );
  const baked = await untilHealthy(cli, "baked --cpus 1", "baked", "");
  const trust = authority
    ? `-v ${path.dirname(authority)}:/host-ca:ro -e NODE_EXTRA_CA_CERTS=/host-ca/${path.basename(authority)}`
    : "";
  const script = `npm install -g --no-audit --no-fund --loglevel=error openclaw@${version} && exec openclaw gateway --allow-unconfigured --bind loopback`;
  const installed = await untilHealthy(
    cli,
    `installing --cpus 1 --memory 2g -e NODE_OPTIONS=--max-old-space-size=1536 ${trust}`,
    "node:24",
    `sh -c '${script}'`,
  );
  return [
    {
      what: "OpenClaw: from aegis run to 200 on /healthz, baked into the image",
      ours: ms(baked),
      peer: { ...ms(installed), name: "npm install at boot" },
    },
  ];
};

/** Milliseconds until the gateway answers; the instance is removed. */
async function untilHealthy(
  { aegis, env }: CommandLine,
  flags: string,
  image: string,
  command: string,
): Promise<number> {
  const [name] = flags.split(" ") as [string];
  const started = process.hrtime.bigint();
  await shell(`${aegis} run -d --restart no -p :18789 --name ${flags} ${image} ${command}`, env);
  try {
    const port = (await shell(`${aegis} port ${name} 18789`, env)).trim().split(":").at(-1);
    const elapsed = () => Number(process.hrtime.bigint() - started) / 1e6;
    while (elapsed() < longestMs) {
      const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(10_000) }).catch(
        () => undefined,
      );
      if (answer?.status === 200) return elapsed();
      if ((await shell(`${aegis} ps -q --filter name=${name}`, env)) === "")
        throw new Error(await shell(`${aegis} logs --tail 5 ${name} 2>&1`, env));
      await pause(500);
    }
    throw new Error(`${name} does not answer`);
  } finally {
    await shell(`${aegis} rm -f ${name}`, env);
  }
}

export default row;
