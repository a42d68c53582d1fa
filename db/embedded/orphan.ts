/**
 * The Postgres that a killed Pawl left running. It is stopped and not adopted: the next start finds the settings, the
 * version and the child process it expects.
 *
 * A pid file proves nothing, since pids are given out again (after a restart in a container at once): what counts is
 * that the process was started on this data directory.
 */
import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { Client } from "pg";
import { isPawlError, PawlError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import type { ConnectTo } from "../pool.ts";
import { takePossession } from "./possession.ts";

const run = promisify(execFile);

const STOP_DEADLINE_MS = 15_000;
/** Nothing reports the end of a process that is not our child. */
const LOOK_EVERY_MS = 10;

interface OrphanOptions {
  readonly directory: string;
  readonly log: Log;
  readonly connect: (socketFolder: string) => ConnectTo;
}

/** Returns when no Postgres works in `directory`; `bad_configuration` when the one that does has a living owner. */
export async function stopOrphan({ directory, log, connect }: OrphanOptions): Promise<void> {
  const pidFile = join(directory, "postmaster.pid");
  const deadline = Date.now() + STOP_DEADLINE_MS;
  while (Date.now() < deadline) {
    const left = await readPidFile(pidFile);
    if (!left) return;
    const { pid, socketFolder } = left;
    const isHere = await servesDirectory(pid, directory);
    const owner = await reach(socketFolder === "" ? undefined : connect(socketFolder));
    if (owner === "nobody listens" && !isHere) {
      // Postgres removes the file of a process that is gone by itself, but takes any living process for its own.
      if (isAlive(pid)) await rm(pidFile, { force: true });
      return;
    }
    if (owner instanceof Client) {
      if (isHere) {
        log.warn({ pid }, "stopping the Postgres that a killed Pawl left behind");
        process.kill(pid, "SIGINT");
      }
      await owner.end().catch(() => {}); // it may have ended by now
      if (!isHere) {
        throw new PawlError(
          "bad_configuration",
          `A Postgres in another container works on ${directory}: stop it first`,
        );
      }
    }
    await delay(LOOK_EVERY_MS);
  }
  throw new PawlError("database_unavailable", `The Postgres left over in ${directory} does not stop`);
}

/** The file has its first lines before the socket is there. */
async function readPidFile(file: string): Promise<{ pid: number; socketFolder: string } | undefined> {
  const content = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (content === undefined) return undefined;
  const [pid = "", , , , socketFolder = ""] = content.split("\n");
  return { pid: Number(pid), socketFolder };
}

async function reach(connection: ConnectTo | undefined): Promise<Client | "nobody listens" | "busy"> {
  if (!connection) return "nobody listens";
  try {
    return await takePossession(connection);
  } catch (error) {
    if (isPawlError(error)) throw error;
    const { code } = error as { code?: unknown };
    return code === "ENOENT" || code === "ECONNREFUSED" ? "nobody listens" : "busy"; // starting up or shutting down
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // or another user's, which Postgres does not mistake for its own either
  }
}

/** Whether the process was started as the postmaster of `directory`. */
async function servesDirectory(pid: number, directory: string): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  if (process.platform === "linux") {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""); // no such process
    return command.split("\0").includes(directory);
  }
  const ps = await run("ps", ["-ww", "-o", "args=", "-p", String(pid)]).catch(() => ({ stdout: "" }));
  return ps.stdout.includes(directory);
}
