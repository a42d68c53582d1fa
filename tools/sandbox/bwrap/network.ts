/**
 * The network of a session: a proxy on our side, its socket shown to the guest, and a relay inside that listens where
 * programs expect a proxy. The guest's own network namespace has nothing but that loopback.
 */
import { chmod, chown, realpath, rm } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { config } from "../../../lib/config.ts";
import { createLog } from "../../../lib/log.ts";
import { accountOf } from "../native/account.ts";
import { type Proxy, startProxy } from "../proxy/proxy.ts";
import { makeScratch } from "../scratch.ts";
import type { Policy } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { guestNode } from "./arguments.ts";

const extension = extname(import.meta.url);
const relayFile = fileURLToPath(new URL(`../proxy/relay${extension}`, import.meta.url));
/** With an ending that says "module" by itself: no package.json is near it. */
const guestRelay = `/opt/pawl/relay${extension.replace(".", ".m")}`;
const guestSocket = "/run/pawl/proxy.sock";
const port = "3128";

export const relayCommand = [guestNode, "--max-old-space-size=32", guestRelay, port, guestSocket];
/** Threads of Node, and what it takes when idle. */
export const relayTasks = 16;
export const relayOverhead = { processes: 3, memoryMb: 64 };

const proxyUrl = `http://127.0.0.1:${port}`;
export const relayEnvironment = {
  http_proxy: proxyUrl,
  https_proxy: proxyUrl,
  HTTP_PROXY: proxyUrl,
  HTTPS_PROXY: proxyUrl,
  NODE_USE_ENV_PROXY: "1",
};

/** Of a session, over all its connections. */
const maxBytes = 256 * 1_024 * 1_024;

export class GuestNetwork {
  readonly #workspace: Workspace;
  readonly #policy: Policy;
  #started: Promise<{ proxy: Proxy; folder: string }> | undefined;

  constructor(workspace: Workspace, policy: Policy) {
    this.#workspace = workspace;
    this.#policy = policy;
  }

  /** What the guest needs to see, from paths on this machine to its own. Starts the proxy. */
  async files(): Promise<[string, string][]> {
    this.#started ??= this.#start();
    const { folder } = await this.#started;
    return [
      [await realpath(relayFile), guestRelay],
      [join(folder, "proxy.sock"), guestSocket],
    ];
  }

  async close(): Promise<void> {
    if (!this.#started) return;
    const { proxy, folder } = await this.#started;
    await proxy[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  }

  async #start(): Promise<{ proxy: Proxy; folder: string }> {
    const folder = await makeScratch("proxy");
    const socket = join(folder, "proxy.sock");
    const log = createLog(config().logLevel);
    const { allow, headers = {} } = this.#policy.network;
    const proxy = await startProxy(socket, {
      allow,
      headers,
      maxBytes,
      maxMs: this.#policy.wallMs,
      decided: (decision) =>
        log.info({ ...decision, thread_id: this.#workspace.threadId }, "A sandbox asked for a host"),
    });
    const account = accountOf(this.#workspace);
    if (account !== undefined) {
      await chmod(folder, 0o711);
      await chown(socket, account, account);
    }
    await chmod(socket, 0o600);
    return { proxy, folder };
  }
}
