/**
 * A guest process behind Landlock and seccomp, where the machine has them: what breaks out of the engine, or out of the
 * shell, which is none, finds no socket and no file but the engine's own.
 */
import { execFile } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { GuestProgram } from "./programs.ts";

const boxFile = fileURLToPath(new URL(`../landlock/box${extname(import.meta.url)}`, import.meta.url));
const node = realpathSync(process.execPath);
/** What Node needs to start. */
const libraries = ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib"];
const readable = [node, "/etc/ld.so.cache", "/etc/ld-musl-x86_64.path", ...libraries].filter((path) =>
  existsSync(path),
);
/** Node refuses to start where its usual one exists and cannot be read. */
const noOpenssl = "--openssl-config=/dev/null";

const check = `
  try { require("node:fs").readFileSync("/etc/passwd"); process.exit(1); } catch {}
  require("node:net").connect(9, "127.0.0.1").on("error", ({ code }) => process.stdout.write(code))`;
const checkMs = 20_000;

let answer: Promise<boolean> | undefined;

/** Whether this machine can, by an attempt; made once. Anything that is not clear is a no. */
export function canBox(): Promise<boolean> {
  answer ??= new Promise((resolve) => {
    const args = boxed({ readable: [], args: ["-e", check] }).args;
    const options = { env: {}, cwd: "/", timeout: checkMs, killSignal: "SIGKILL" } as const;
    execFile(process.execPath, args, options, (error, stdout) => resolve(error === null && stdout === "EPERM"));
  });
  return answer;
}

/** The same program, which confines itself before it starts. */
export function boxed<T extends Pick<GuestProgram, "args" | "readable">>(program: T): T {
  const paths = JSON.stringify([...readable, ...program.readable]);
  return {
    ...program,
    args: ["--max-old-space-size=32", "--v8-pool-size=0", boxFile, paths, node, noOpenssl, ...program.args],
  };
}
