/** The HTTP application: guards around routes. It knows no database; main.ts hands it routes that do. */
import type { HttpBindings } from "@hono/node-server";
import { Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { guard, type GuardOptions } from "./guard.ts";
import { onError, onNotFound } from "./problem.ts";

/** `env` holds node's own request and response; see `nodeOf` in delivery.ts. */
export type ServerEnv = { Bindings: HttpBindings };

interface AppOptions {
  readonly log: Log;
  readonly guard: GuardOptions;
  readonly maxBodyBytes: number;
  /** Around everything. */
  readonly count?: MiddlewareHandler<ServerEnv>;
  /** Each at the root; the first that matches answers. */
  readonly routes: readonly Hono<ServerEnv>[];
}

export function createApp({ log, guard: guardOptions, maxBodyBytes, count, routes }: AppOptions): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();
  app.onError(onError(log));
  app.notFound(onNotFound);
  if (count) app.use(count);
  app.use(...guard(guardOptions));
  app.use(
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: () => {
        const facts = { max_bytes: maxBodyBytes };
        throw new PawlError("body_too_large", `A body may have ${maxBodyBytes} bytes`, { facts });
      },
    }),
  );
  for (const route of routes) app.route("/", route);
  return app;
}
