/** HTTP for the ledger of effects: what was sent to the world, and what nobody knows the outcome of. */
import { Hono } from "hono";
import { z } from "zod";
import type { Principal } from "../lib/principal.ts";
import { type EffectPage, EffectSearch } from "../runs/effects/list.ts";
import type { ServerEnv } from "./app.ts";
import { parse, parseQuery, queryInt } from "./parse.ts";
import { principalOf } from "./principal.ts";

const SearchInQuery = z.object({
  state: z.string().optional(),
  limit: queryInt.optional(),
  after: z.string().optional(),
});

export function effectRoutes(
  list: (principal: Principal, search: EffectSearch) => Promise<EffectPage>,
): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  app.get("/effects", async (c) => {
    const search = parse(EffectSearch, parseQuery(SearchInQuery, c));
    return c.json(await list(principalOf(c), search));
  });

  return app;
}
