/** `npx pawl serve` as a real process of the project. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { environment } from "./install.ts";

interface Served extends AsyncDisposable {
  readonly url: string;
}

/** Resolves when it is ready. Rejects with what it wrote to stderr if it ends before. */
export async function serve(folder: string, args: readonly string[] = []): Promise<Served> {
  const child = spawn("npx", ["--no-install", "pawl", "serve", "--port", "0", ...args], {
    cwd: folder,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const ended = once(child, "close");
  const complaint = text(child.stderr);
  let url: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    url ??= /^Pawl listens on (\S+)/.exec(line)?.[1];
    if (line.startsWith("Ready")) break;
  }
  if (url === undefined) {
    await ended;
    throw new Error(await complaint);
  }
  child.stdout.resume();
  return {
    url,
    async [Symbol.asyncDispose]() {
      // To the group, as a terminal does: npx hands a signal on to its shell only, and the server would live on.
      process.kill(-child.pid!, "SIGTERM");
      await ended;
    },
  };
}
