/** `pawl sandbox-server`: the sandboxes of this machine, for servers on others. It knows no database and no graph. */
import type { Config } from "../lib/config.ts";
import { PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type SandboxServer, startSandboxServer } from "../tools/sandbox/remote/server.ts";
import { closeExecutors } from "../tools/sandbox/select.ts";

/** Beside 2024, the server's. */
const defaultPort = 2025;

/** Listens until the first signal; then what runs is killed. Throws `bad_configuration` without a token. */
export async function serveSandboxes(
  { host, port = defaultPort }: { host: string; port?: number | undefined },
  config: Config,
  log: Log,
): Promise<SandboxServer> {
  const { token } = config.sandboxRemote;
  if (token === undefined) throw new PawlError("bad_configuration", "sandbox-server needs PAWL_SANDBOX_REMOTE_TOKEN");
  const { sandboxMin: minimum, workerConcurrency: maxRuns, fetchAllow: allowedHosts } = config;
  const server = await startSandboxServer({ host, port, token, minimum, maxRuns, allowedHosts, log });
  const end = (): void => {
    void server[Symbol.asyncDispose]()
      .then(closeExecutors)
      .then(() => process.exit(0));
  };
  process.once("SIGTERM", end);
  process.once("SIGINT", end);
  return server;
}
