/**
 * The advisory locks of Pawl that have a fixed meaning, as their two keys. Locks with one key are another space to
 * Postgres: there each worker has one of its own (`workers.lock_key`).
 */

/** "pawl" in ASCII, so that another application in the same database hardly uses it. */
const PAWL = 0x7061776c;

type AdvisoryLock = readonly [group: number, key: number];

/** Held for life by the process that owns the embedded Postgres. */
export const POSSESSION: AdvisoryLock = [PAWL, 1];

/** Held by the process that migrates. */
export const MIGRATION: AdvisoryLock = [PAWL, 2];

/** The group of the locks by which a process finds out whether its connections are sessions of their own; the key is drawn. */
export const SESSION_CHECK_GROUP = PAWL + 1;

/** The group of the locks under which runs with a client's own key are created; the key is a digest of that. */
export const KEY_GROUP = PAWL + 2;
