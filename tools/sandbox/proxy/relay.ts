/**
 * Main file of the first process in a sandbox with a network: passes connections to the loopback port, which is inside,
 * on to the proxy's Unix socket, and starts the guest once it listens. Runs without anything but Node.
 */
import { spawn } from "node:child_process";
import { connect, createServer, type Socket } from "node:net";
import { constants } from "node:os";

const [port = "", proxySocket = "", command = "", ...args] = process.argv.slice(2);

const relay = createServer((inside) => join(inside, connect(proxySocket)));
relay.listen(Number(port), "127.0.0.1", () => {
  const guest = spawn(command, args, { stdio: "inherit" });
  guest.once("error", () => process.exit(126));
  guest.once("exit", (code, signal) => process.exit(code ?? 128 + (signal ? constants.signals[signal] : 0)));
});

function join(one: Socket, other: Socket): void {
  one.pipe(other).pipe(one);
  for (const [socket, peer] of [
    [one, other],
    [other, one],
  ] as const) {
    socket.once("error", () => peer.destroy());
    socket.once("close", () => peer.destroy());
  }
}
