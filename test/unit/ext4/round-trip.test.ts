import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { imageLines, withScratch, writeImage } from "../../helpers/ext4-image.js";
import { applySteps, layerSteps } from "../../helpers/random-trees.js";
import { TreeModel } from "../../helpers/tree-model.js";

const digest = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");

describe("a tree that is written and read back", () => {
  it("is the tree that the layers describe, and the same bytes each time", async () => {
    await withScratch(async (scratch) => {
      let run = 0;
      await fc.assert(
        fc.asyncProperty(layerSteps, async (steps) => {
          const files = [1, 2].map((copy) => path.join(scratch, `${run}-${copy}.img`));
          run++;
          const models = [new TreeModel(), new TreeModel()];
          for (const [i, file] of files.entries()) {
            await writeImage(file, (writer) => applySteps(steps, writer, models[i]!));
          }
          expect(await imageLines(files[0]!)).toEqual(models[0]!.lines());
          expect(digest(files[0]!)).toBe(digest(files[1]!));
        }),
        { numRuns: 40, interruptAfterTimeLimit: 8000 },
      );
    });
  });
});
