/** Processes on one database, each behind a proxy to it, and one address for clients that leads to whoever listens. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ConnectTo } from "../../../db/pool.ts";
import { urlOf } from "../../support/server.ts";
import { type HalfOpenProxy, startProxy } from "./half-open-proxy.ts";
import { Member, type Role } from "./member.ts";
import type { Random } from "./random.ts";

export const GRAPHS = ["steps", "fan", "nested", "effects", "questions", "calls"] as const;
export type GraphId = (typeof GRAPHS)[number];

const MEMBERS: readonly Role[] = ["serve", "serve --no-workers", "worker", "worker"];

export interface Fleet extends AsyncDisposable {
  readonly members: readonly Member[];
  /** Between clients and the processes that listen: each connection leads to one of those that are up. */
  readonly api: HalfOpenProxy;
  readonly url: string;
}

interface FleetOptions {
  /** Of its own, for sockets, settings and logs. */
  readonly folder: string;
  readonly connection: ConnectTo;
  readonly leaseSeconds: number;
  readonly random: Random;
}

export async function startFleet({ folder, connection, leaseSeconds, random }: FleetOptions): Promise<Fleet> {
  await using cleanup = new AsyncDisposableStack();
  const project = join(folder, "langgraph.json");
  const place = (id: GraphId): string => `${fileURLToPath(new URL(`./graphs/${id}.ts`, import.meta.url))}:graph`;
  await writeFile(project, JSON.stringify({ graphs: Object.fromEntries(GRAPHS.map((id) => [id, place(id)])) }));

  const members: Member[] = [];
  for (const [i, role] of MEMBERS.entries()) {
    const name = `${i}-${role.split(" --").join("-")}`;
    const sockets = join(folder, name);
    await mkdir(sockets, { recursive: true }); // logs of another session may be there
    const path = join(sockets, `.s.PGSQL.${connection.port}`);
    const database = cleanup.use(
      await startProxy({ path }, () => ({ path: join(String(connection.host), `.s.PGSQL.${connection.port}`) })),
    );
    await chmod(path, 0o777);
    const member = new Member({
      name,
      role,
      project,
      database,
      logFile: join(folder, `${name}.log`),
      env: {
        DATABASE_URL: urlOf({ ...connection, host: sockets }),
        PAWL_DATA_DIR: join(folder, "files"),
        PAWL_LEASE_SECONDS: String(leaseSeconds),
        PAWL_WORKER_CONCURRENCY: "20",
        // Until the last check, so that the log can be compared with what readers got.
        PAWL_EVENT_TTL_SECONDS: "7200",
        PAWL_HEARTBEAT_SECONDS: "1",
      },
    });
    cleanup.defer(() => member.dispose());
    members.push(member);
  }
  const api = cleanup.use(
    await startProxy({ host: "127.0.0.1", port: 0 }, () => {
      const open = members.filter(({ port, state }) => port !== undefined && state !== "starting");
      const port = open.length > 0 ? random.pick(open).port : undefined;
      return port === undefined ? undefined : { host: "127.0.0.1", port };
    }),
  );
  await Promise.all(members.map((member) => member.start()));
  const owned = cleanup.move();
  return {
    members,
    api,
    url: `http://127.0.0.1:${api.port}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
