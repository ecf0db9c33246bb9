import { Option } from "clipanion";
import { formatPort } from "../../instance/ports.js";
import { findInstance } from "../../instance/store.js";
import { AegisError } from "../../support/errors.js";
import { AegisCommand } from "../command.js";

export default class PortCommand extends AegisCommand {
  static override paths = [["port"]];

  name = Option.String({ required: true });
  guestPort = Option.String({ required: false });

  override async execute() {
    const { config } = await findInstance(this.home, this.name);
    if (this.guestPort === undefined) {
      this.print(config.ports, (ports) => ports.map(formatPort).join("\n"));
      return;
    }
    const [number, protocol = "tcp"] = this.guestPort.split("/");
    const found = config.ports.filter((port) => String(port.guestPort) === number && port.protocol === protocol);
    if (found.length === 0) {
      throw new AegisError("NOT_PUBLISHED", `${config.name} does not publish its port ${number}/${protocol}`, {
        hint: `publish it when running: aegis run -p ${number} ...`,
      });
    }
    this.print(found, (ports) => ports.map((port) => `${port.hostAddress}:${port.hostPort}`).join("\n"));
  }
}
