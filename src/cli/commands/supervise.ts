import { Socket } from "node:net";
import { Option } from "clipanion";
import { superviseWord } from "../../instance/launch.js";
import type { LaunchEvent, LaunchPayload } from "../../instance/messages.js";
import { houseParts } from "../../instance/supervisor/house.js";
import { supervise } from "../../instance/supervisor/supervise.js";
import type { InstanceId } from "../../support/brands.js";
import { AegisCommand } from "../command.js";
import { readAll } from "../input.js";

/** What `run` and `start` launch in the background; people don't call it. Standard input carries the secrets, fd 3 the news. */
export default class SuperviseCommand extends AegisCommand {
  static override paths = [[superviseWord]];

  id = Option.String({ required: true });

  override async execute() {
    const terminate = new AbortController();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => terminate.abort());
    const news = new Socket({ fd: 3, readable: true, writable: true });
    const launcherGone = new Promise<void>((resolve) => {
      news.once("close", () => resolve()).once("end", () => resolve());
    });
    news.on("error", () => undefined);
    news.resume();
    news.unref();
    const payload = JSON.parse((await readAll(process.stdin)).toString("utf8")) as LaunchPayload;
    await supervise(this.home, this.id as InstanceId, {
      payload,
      parts: houseParts(process.env),
      launcherGone,
      terminate: terminate.signal,
      report: (event: LaunchEvent) => {
        if (news.writable) news.write(`${JSON.stringify(event)}\n`);
      },
    });
    if (news.writable) await new Promise<void>((resolve) => news.end(resolve));
    // Nothing may keep a supervisor alive that has nothing to supervise.
    process.exit(0);
  }
}
