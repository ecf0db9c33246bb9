import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { createRedactor } from "../../../src/secrets/redact.js";
import { resolveSecrets } from "../../../src/secrets/resolve.js";
import { parseSecretFlag } from "../../../src/secrets/spec.js";
import { openSecretStore } from "../../../src/secrets/store.js";
import { scratchDirectory } from "../../helpers/scratch.js";

const scratch = scratchDirectory();

describe("the store", () => {
  test("gives back what was set, and no file holds the value", async () => {
    const store = openSecretStore(scratch());
    expect(await store.set("API_KEY", Buffer.from("hunter2-hunter2"))).toBe(true);
    expect(await store.set("API_KEY", Buffer.from("correct horse"))).toBe(false);
    expect((await store.get("API_KEY"))?.toString()).toBe("correct horse");
    expect(await store.get("OTHER")).toBeUndefined();
    for (const file of await readdir(scratch())) {
      const full = scratch(file);
      expect((await stat(full)).mode & 0o777).toBe(0o600);
      expect((await readFile(full)).includes("correct horse")).toBe(false);
    }
  });

  test("notices files that were altered or exchanged", async () => {
    const store = openSecretStore(scratch());
    await store.set("A", Buffer.from("value of a"));
    await store.set("B", Buffer.from("value of b"));
    const sealed = await readFile(scratch("A.secret"));
    await writeFile(scratch("B.secret"), sealed);
    await expect(store.get("B")).rejects.toMatchObject({ code: "SECRET_UNREADABLE" });
    sealed[sealed.length - 1]! ^= 1;
    await writeFile(scratch("A.secret"), sealed);
    await expect(store.get("A")).rejects.toMatchObject({ code: "SECRET_UNREADABLE" });
    await rm(scratch("key"));
    await expect(store.get("A")).rejects.toMatchObject({ code: "SECRET_UNREADABLE" });
  });

  test("lists names, removes, and refuses names that are paths", async () => {
    const store = openSecretStore(scratch());
    await store.set("B", Buffer.from("2"));
    await store.set("A", Buffer.from("1"));
    expect((await store.list()).map((secret) => secret.name)).toEqual(["A", "B"]);
    await store.remove("A");
    await expect(store.remove("A")).rejects.toMatchObject({ code: "SECRET_UNKNOWN" });
    for (const name of ["../x", "a/b", "", "1A", "a".repeat(129)]) {
      await expect(store.set(name, Buffer.from("x"))).rejects.toMatchObject({ code: "SECRET_NAME" });
    }
  });

  test("concurrent first writers agree on one key", async () => {
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => openSecretStore(scratch()).set(`S${i}`, Buffer.from(`value ${i}`))),
    );
    for (let i = 0; i < 8; i++) {
      expect((await openSecretStore(scratch()).get(`S${i}`))?.toString()).toBe(`value ${i}`);
    }
  });
});

describe("--secret", () => {
  test.each([
    ["TOKEN", { kind: "store" }, { kind: "env", variable: "TOKEN" }],
    ["id=npm.rc,src=/h/.npmrc", { kind: "file", path: "/h/.npmrc" }, { kind: "env", variable: "npm_rc" }],
    ["id=K,env=HOST_K", { kind: "env", variable: "HOST_K" }, { kind: "env", variable: "K" }],
    ["type=env,id=K,src=HOST_K", { kind: "env", variable: "HOST_K" }, { kind: "env", variable: "K" }],
    ["id=K,target=/run/k", { kind: "store" }, { kind: "file", path: "/run/k", mode: 0o400 }],
    [
      "id=K,env=,target=/run/k,mode=0440,uid=1000,gid=5",
      { kind: "env", variable: "K" },
      { kind: "file", path: "/run/k", mode: 0o440, owner: "1000:5" },
    ],
  ])("%s", (text, source, delivery) => {
    expect(parseSecretFlag(text)).toMatchObject({ source, delivery, required: true });
  });

  test.each(["src=x", "id=K,foo=1", "id=K,src=a,env=b", "id=K,target=rel", "id=K,id=L", "id=K,mode=9", "id=K,src"])(
    "%s is refused",
    (text) => {
      expect(() => parseSecretFlag(text)).toThrow(expect.objectContaining({ code: "SECRET_SPEC" }));
    },
  );
});

test("every missing secret is named at once, with what to do", async () => {
  const store = openSecretStore(scratch());
  await store.set("HERE", Buffer.from("x"));
  const requests = ["HERE", "A", "B", "id=C,env=UNSET", `id=D,src=${scratch()}/none`].map(parseSecretFlag);
  const error = await resolveSecrets(requests, { store, env: {} }).catch((e) => e);
  expect(error).toMatchObject({
    code: "SECRET_MISSING",
    message: `missing secrets: A, B, C (variable UNSET is not set), D (no file ${scratch()}/none)`,
    hint: "set them: aegis secret set A; aegis secret set B",
  });
  const optional = requests.map((request) => ({ ...request, required: false }));
  const found = await resolveSecrets(optional, { store, env: { UNSET: "set" } });
  expect(found.map(({ request, value }) => [request.name, value.toString()])).toEqual([
    ["HERE", "x"],
    ["C", "set"],
  ]);
});

test("a redactor finds values as they are and as programs encode them", () => {
  const redact = createRedactor([
    { name: "KEY", value: Buffer.from("s3cr3t/with+chars\n") },
    { name: "LONG", value: Buffer.from("s3cr3t/with+chars-and-more") },
    { name: "PEM", value: Buffer.from("-----BEGIN-----\nabcdefghijkl\n-----END-----\n") },
    { name: "TINY", value: Buffer.from("on") },
  ]);
  expect(redact("key=s3cr3t/with+chars;")).toBe("key=<secret KEY>;");
  expect(redact("s3cr3t/with+chars-and-more")).toBe("<secret LONG>");
  expect(redact(`auth ${Buffer.from("s3cr3t/with+chars").toString("base64")}`)).toBe("auth <secret KEY>");
  expect(redact("?k=s3cr3t%2Fwith%2Bchars")).toBe("?k=<secret KEY>");
  expect(redact("line abcdefghijkl of it")).toBe("line <secret PEM> of it");
  expect(redact("on and on")).toBe("on and on");
});
