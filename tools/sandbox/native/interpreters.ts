/** The programs of this machine that run a guest's code. Only those that a sandbox can see: below /usr or /bin. */
import { accessSync, constants, realpathSync } from "node:fs";
import type { Language } from "../types.ts";

export interface Interpreters {
  readonly shell: string;
  readonly python?: string;
  /** The Node of this installation, wherever it is. */
  readonly js?: string;
}

/** Undefined without a shell, which all of them need. */
export function findInterpreters(): Interpreters | undefined {
  const python = firstOf("/usr/local/bin/python3", "/usr/bin/python3");
  const shell = firstOf("/bin/sh", "/usr/bin/sh");
  return shell ? { shell, js: realpathSync(process.execPath), ...(python && { python }) } : undefined;
}

export function languagesOf(interpreters: Interpreters): Language[] {
  return interpreters.python ? ["shell", "python", "js"] : ["shell", "js"];
}

/** System folders and files that a guest may read; those that this machine has. */
export function systemPaths(): string[] {
  return [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
    "/etc/ssl/certs",
  ].filter((path) => exists(path));
}

export const devices = (): string[] =>
  ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"].filter((path) => exists(path));

/** A program of the system; never one that somebody put on the PATH. */
export function findProgram(name: string): string | undefined {
  return firstOf(...["/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin"].map((folder) => `${folder}/${name}`));
}

function firstOf(...paths: string[]): string | undefined {
  return paths.find((path) => exists(path, constants.X_OK));
}

function exists(path: string, mode: number = constants.F_OK): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
