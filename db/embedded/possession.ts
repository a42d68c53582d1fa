/**
 * Who owns the embedded Postgres: the process that holds one advisory lock in it. The lock goes with the connection
 * and the connection with the process, so a crash never leaves it behind, as a pid file would.
 *
 * When Postgres restarts its sessions after a crash, a process that starts at that moment can be faster than the owner.
 * The owner then ends with an error; the data are safe either way, since Postgres lets one postmaster at them.
 */
import { Client, DatabaseError } from "pg";
import { PawlError } from "../../lib/errors.ts";
import { POSSESSION } from "../advisory-locks.ts";
import type { ConnectTo } from "../pool.ts";

/** The lock of a process that was killed just now goes as soon as Postgres has seen its socket close. */
const GRACE_MS = 1_000;

/** An owner's connection, or `bad_configuration` when another process owns this Postgres. */
export async function takePossession(connection: ConnectTo): Promise<Client> {
  const client = new Client({
    ...connection,
    application_name: "pawl-owner",
    connectionTimeoutMillis: 10_000,
    lock_timeout: GRACE_MS,
  });
  client.on("error", () => {}); // whoever owns the connection listens to its end
  try {
    await client.connect();
    await client.query("select pg_advisory_lock($1, $2)", [...POSSESSION]);
    return client;
  } catch (error) {
    await client.end().catch(() => {}); // it may never have been open
    if (error instanceof DatabaseError && error.code === "55P03") {
      throw new PawlError(
        "bad_configuration",
        "Another Pawl runs on this data directory: stop it, or give this one another PAWL_DATA_DIR",
        { cause: error },
      );
    }
    throw error;
  }
}
