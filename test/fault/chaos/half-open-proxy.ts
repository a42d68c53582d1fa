/**
 * A proxy that can go silent as a network does: bytes and ends stop arriving on both sides, and nobody is told. It
 * listens on a port of the loopback, for HTTP, or on a Unix socket, for Postgres.
 */
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type NetConnectOpts,
  type Socket,
} from "node:net";

export interface HalfOpenProxy extends AsyncDisposable {
  readonly port: number;
  /** Nothing passes from now on, in no direction, and new connections lead nowhere. */
  silence(): void;
  /** What was held back arrives, late; new connections work again. */
  thaw(): void;
  /** New connections work again; those of the silence end on both sides, as when a router forgets them and says so. */
  reset(): void;
  /** Ends some connection on both sides; false when there is none. */
  drop(pick: <T>(items: readonly T[]) => T): boolean;
}

/** `target` says where a connection leads; undefined refuses it. */
export async function startProxy(
  listenOn: ListenOptions,
  target: () => NetConnectOpts | undefined,
): Promise<HalfOpenProxy> {
  const pairs = new Set<Pair>();
  let isSilent = false;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const to = target();
    if (!to) return void near.destroy();
    const pair = new Pair(near, connect({ ...to, allowHalfOpen: true }), () => pairs.delete(pair));
    pairs.add(pair);
    if (isSilent) pair.silence();
  });
  server.listen(listenOn);
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "string" ? 0 : (address as AddressInfo).port,
    silence() {
      isSilent = true;
      for (const pair of pairs) pair.silence();
    },
    thaw() {
      isSilent = false;
      for (const pair of pairs) pair.thaw();
    },
    reset() {
      isSilent = false;
      for (const pair of pairs) pair.destroy();
    },
    drop(pick) {
      if (pairs.size === 0) return false;
      pick([...pairs]).destroy();
      return true;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const pair of pairs) pair.destroy();
      if (server.listening) await once(server, "close");
    },
  };
}

class Pair {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #onGone: () => void;
  #isSilent = false;
  /** An end that came during the silence. */
  #hasEnded = false;

  constructor(near: Socket, far: Socket, onGone: () => void) {
    this.#near = near;
    this.#far = far;
    this.#onGone = onGone;
    this.#forward(near, far);
    this.#forward(far, near);
  }

  silence(): void {
    this.#isSilent = true;
    for (const socket of [this.#near, this.#far]) socket.pause();
  }

  thaw(): void {
    this.#isSilent = false;
    if (this.#hasEnded) return this.destroy();
    for (const socket of [this.#near, this.#far]) socket.resume();
  }

  destroy(): void {
    for (const socket of [this.#near, this.#far]) socket.destroy();
    this.#onGone();
  }

  #forward(from: Socket, to: Socket): void {
    from.on("data", (chunk: Buffer) => {
      if (to.write(chunk)) return;
      from.pause();
      to.once("drain", () => {
        if (!this.#isSilent) from.resume();
      });
    });
    from.on("end", () => to.end());
    from.on("error", () => {}); // `close` follows
    from.on("close", () => {
      this.#hasEnded = true;
      if (!this.#isSilent) this.destroy();
    });
  }
}
