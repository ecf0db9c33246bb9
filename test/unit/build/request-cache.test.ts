import path from "node:path";
import { describe, expect, test } from "vitest";
import { cacheSource, cacheTarget } from "../../../src/build/request-cache.js";

describe("--cache-from", () => {
  test.each([
    ["app:cache", { type: "registry", reference: "docker.io/library/app:cache" }],
    ["type=registry,ref=localhost:5000/a", { type: "registry", reference: "localhost:5000/a:latest" }],
    ["type=local,src=/c", { type: "local", directory: "/c", tag: "latest" }],
    ["type=local,src=c,tag=x", { type: "local", directory: path.resolve("c"), tag: "x" }],
  ])("%s", (word, source) => {
    expect(cacheSource(word)).toEqual(source);
  });

  test.each([
    ["type=gha", 'can\'t be of type "gha"'],
    ["type=local", "says no src"],
    ["src=/c", "says no type"],
    ["type=registry,ref=a,mode=max", 'has no field "mode"=max'],
    ["type=local,src=/c,digest=abc", '"abc" is not a digest'],
    ["", "names nothing"],
  ])("%s is refused", (word, message) => {
    expect(() => cacheSource(word)).toThrow(message);
  });
});

describe("--cache-to", () => {
  test.each([
    ["type=inline", { type: "inline" }],
    ["app:c", { type: "registry", reference: "docker.io/library/app:c", mode: "min", ignoreError: false }],
    [
      "type=registry,ref=app,mode=max,ignore-error=true,oci-mediatypes=true,image-manifest=true",
      { type: "registry", reference: "docker.io/library/app:latest", mode: "max", ignoreError: true },
    ],
    ["type=local,dest=/c,mode=min", { type: "local", directory: "/c", tag: "latest", mode: "min", ignoreError: false }],
  ])("%s", (word, target) => {
    expect(cacheTarget(word)).toEqual(target);
  });

  test.each([
    ["type=inline,mode=max", "has no mode=max"],
    ["type=registry,ref=a,mode=all", 'mode can\'t be "all"'],
    ["type=registry,ref=a,ignore-error=maybe", 'ignore-error can\'t be "maybe"'],
    ["type=registry,ref=a,image-manifest=false", 'has no field "image-manifest"=false'],
    ["type=local,dest=/c,compression=zstd", 'has no field "compression"=zstd'],
    ["type=s3,bucket=b", 'can\'t be of type "s3"'],
    ["type=registry,ref=UPPER", "lower case"],
  ])("%s is refused", (word, message) => {
    expect(() => cacheTarget(word)).toThrow(message);
  });
});
