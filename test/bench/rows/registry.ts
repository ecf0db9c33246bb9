/** Pull and push against skopeo, through a registry server on loopback; start-up of the commands that look at the store. */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { type RegistryServer, startRegistry } from "../../interop/oci/registry-server.js";
import { alternate, type Bench, type BenchLine, type BenchRow, ms, runTask, shell, timeShell } from "../bench.js";

const layers = 10;
const listRounds = 10;

const row: BenchRow = async (bench) => {
  await using registry = await startRegistry();
  const [size, files] = bench.heavy ? [1 << 30, 50_000] : [256 << 20, 12_800];
  const home = path.join(bench.scratch, "registry");
  await mkdir(home, { recursive: true });
  const lines: BenchLine[] = [];
  for (const compression of ["gzip", "none"] as const) {
    const name = `${registry.host}/${compression}:1`;
    const kept = path.join(bench.scratch, `${compression}.json`);
    await runTask(bench, "store", home, kept, ...[size, files, layers].map(String), compression);
    await shell(`${process.execPath} ${bench.root}/bin/aegis.js tag bench:${compression} ${name}`, {
      AEGIS_HOME: home,
    });
    const what = `${size >> 20} MB, ${layers} ${compression === "gzip" ? "gzip" : "uncompressed"} layers`;
    lines.push(await push(bench, registry, home, name, what), ...(await pull(bench, name, what)));
  }
  return [...lines, ...(await lists(bench, home))];
};

/** Each push meets a registry that has nothing. */
async function push(
  bench: Bench,
  { storage, host }: RegistryServer,
  home: string,
  name: string,
  what: string,
): Promise<BenchLine> {
  const reset = async () => {
    await rm(storage, { recursive: true, force: true });
    await shell(`cat ${home}/images/blobs/sha256/* > /dev/null; sync`);
  };
  const copy = `skopeo --insecure-policy copy --quiet --dest-tls-verify=false --preserve-digests oci:${home}/images:${name} docker://${host}/peer:1`;
  const [peer, ours] = await alternate(
    bench.repeat,
    () => timeShell(copy),
    () => runTask(bench, "push", home, name),
    reset,
  );
  return {
    what: `push, ${what}`,
    ours: ms(ours.milliseconds),
    peer: { ...ms(peer), name: "skopeo copy" },
    goal: { text: "not slower", met: ours.milliseconds <= peer },
  };
}

/** Each pull begins with an empty store. */
async function pull(bench: Bench, name: string, what: string): Promise<readonly BenchLine[]> {
  const home = path.join(bench.scratch, "puller");
  const layout = path.join(bench.scratch, "layout");
  const reset = async () => {
    await rm(home, { recursive: true, force: true });
    await rm(layout, { recursive: true, force: true });
    await mkdir(home);
    await shell("sync");
  };
  const copy = `skopeo --insecure-policy copy --quiet --src-tls-verify=false --dest-oci-accept-uncompressed-layers docker://${name} oci:${layout}:a && sync`;
  const [ours, peer] = await alternate(
    bench.repeat,
    () => runTask(bench, "pull", home, name),
    () => timeShell(copy),
    reset,
  );
  const [alone, peerAlone] = await alternate(
    bench.repeat,
    () => runTask(bench, "fetch", home, name),
    () => timeShell(copy),
    reset,
  );
  // What anybody has to do at least who wants to look into the layers.
  const look = `for blob in ${layout}/blobs/sha256/*; do gzip -dcf "$blob" | sha256sum; done`;
  let floor = Number.POSITIVE_INFINITY;
  for (let round = 0; round < bench.repeat; round++) {
    await reset();
    floor = Math.min(floor, await timeShell(`${copy} && ${look}`));
  }
  await reset();
  const both = `pull and disks, ${what}`;
  return [
    {
      what: both,
      ours: ms(ours.milliseconds),
      peer: { ...ms(peer), name: "skopeo copy to a layout" },
      goal: { text: "within 1.3 of it", met: ours.milliseconds / peer <= 1.3 },
      note: `peak memory ${Math.round(ours.peakBytes / 1e6)} MB`,
    },
    {
      what: both,
      ours: ms(ours.milliseconds),
      peer: { ...ms(floor), name: "skopeo copy, gzip -dc | sha256sum" },
    },
    {
      what: `pull alone, ${what}`,
      ours: ms(alone.milliseconds),
      peer: { ...ms(peerAlone), name: "skopeo copy to a layout" },
    },
  ];
}

async function lists(bench: Bench, home: string): Promise<readonly BenchLine[]> {
  const aegis = path.join(bench.root, "bin/aegis.js");
  const lines: BenchLine[] = [];
  const best = async (command: string) => {
    let fastest = Number.POSITIVE_INFINITY;
    for (let round = 0; round < listRounds; round++) {
      fastest = Math.min(fastest, await timeShell(command, { AEGIS_HOME: home }));
    }
    return fastest;
  };
  for (const command of ["images", "ps"]) {
    const ours = await best(`${process.execPath} ${aegis} ${command}`);
    for (const peer of [`${process.execPath} -e 0`, "skopeo --version"]) {
      lines.push({
        what: `aegis ${command}`,
        ours: ms(ours),
        peer: { ...ms(await best(peer)), name: peer.replace(process.execPath, "node") },
      });
    }
  }
  return lines;
}

export default row;
