/** `pawl sandbox-server` as a real second process, and the settings by which this one finds it. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface OtherSide extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
  /** SIGKILL: the machine is gone. */
  fail(): Promise<void>;
}

export async function startOtherSide(env: Record<string, string> = {}): Promise<OtherSide> {
  const token = randomBytes(16).toString("hex");
  const home = mkdtempSync(join(tmpdir(), "pawl-other-side-"));
  chmodSync(home, 0o711); // as a machine's own, which others get through
  const child = spawn(process.execPath, ["server/cli.ts", "sandbox-server", "--port", "0"], {
    env: { PATH: process.env["PATH"], LOG_LEVEL: "error", PAWL_SANDBOX_REMOTE_TOKEN: token, TMPDIR: home, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const url = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const [, found] = /runs code at (\S+)\n/.exec(said) ?? [];
      if (found) resolve(found);
    });
    child.once("exit", (code) => reject(new Error(`It ended with ${code}`)));
  });
  const gone = once(child, "exit");
  return {
    url,
    token,
    pid: child.pid!,
    async fail() {
      child.kill("SIGKILL");
      await gone;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await gone;
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Before this process reads its configuration. */
export function useOtherSide({ url, token }: Pick<OtherSide, "url" | "token">): void {
  process.env["PAWL_SANDBOX_REMOTE_URL"] = url;
  process.env["PAWL_SANDBOX_REMOTE_TOKEN"] = token;
}
