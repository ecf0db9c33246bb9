import { describe, expect, it } from "vitest";
import { parseGitAddress } from "../../../src/build/context/git-address.js";
import { isInside } from "../../../src/build/context/web.js";

describe("addresses of repositories", () => {
  it.each([
    ["https://host/a.git#v1:dir", { remote: "https://host/a.git", ref: "v1", directory: "dir" }],
    ["git@host:a/b.git#:x/../y", { remote: "git@host:a/b.git", directory: "y" }],
    ["github.com/a/b", { remote: "https://github.com/a/b" }],
    ["ssh://git@host:22/a", { remote: "ssh://git@host:22/a" }],
    ["git://host/a?tag=t&subdir=/s/", { remote: "git://host/a", ref: "refs/tags/t", directory: "s" }],
    ["https://host/a.git?branch=b&submodules=false", { ref: "refs/heads/b", submodules: false }],
    ["https://host/a.git#:../../x", { directory: "x" }],
  ])("%s", (word, address) => {
    expect(parseGitAddress(word)).toMatchObject(address);
  });

  it.each(["https://host/a", "./a.git", "file:///a.git", "ext::sh -c true", "a.git", "ftp://host/a.git"])(
    "%s is none",
    (word) => {
      expect(parseGitAddress(word)).toBeUndefined();
    },
  );

  it.each([
    "https://host/a.git#--upload-pack=x",
    "https://host/a.git#a..b",
    "ssh://-oProxyCommand=x/a",
    "https://host/a.git?what=1",
    "https://host/a.git?ref=a&ref=b",
    "https://host/a.git?commit=zz",
  ])("%s is refused", (word) => {
    expect(() => parseGitAddress(word)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^GIT_/) }));
  });
});

describe("addresses on the web", () => {
  it("knows addresses that only this machine or its network reaches", () => {
    for (const address of [
      "127.0.0.1",
      "10.1.2.3",
      "169.254.169.254",
      "192.168.0.1",
      "::1",
      "fe80::1",
      "::ffff:10.0.0.1",
    ]) {
      expect(isInside(address), address).toBe(true);
    }
    for (const address of ["8.8.8.8", "2001:4860::1", "example.com"]) expect(isInside(address), address).toBe(false);
  });
});
