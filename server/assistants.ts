/** HTTP for assistants: parse, call, shape. Each is named by its id or, for a graph's own one, by the graph's id. */
import { Hono } from "hono";
import { z } from "zod";
import { AssistantCreate, AssistantPatch } from "../runs/assistants/assistant.ts";
import type { Assistants } from "../runs/assistants/assistants.ts";
import { AssistantFilter, AssistantSearch } from "../runs/assistants/search.ts";
import { VersionQuery } from "../runs/assistants/versions.ts";
import type { ServerEnv } from "./app.ts";
import { paged } from "./paged.ts";
import { parse, parseBody, parseQuery, queryFlag, queryInt } from "./parse.ts";
import { principalOf } from "./principal.ts";

/** Levels of subgraphs that a drawing may open. */
const MAX_XRAY = 100;

const DrawingQuery = z.object({
  xray: z.union([queryInt.pipe(z.number().min(0).max(MAX_XRAY)), queryFlag]).default(false),
});
const SubgraphsQuery = z.object({ recurse: queryFlag.default(false) });
const DeleteQuery = z.object({ delete_threads: queryFlag.default(false) });
const Version = z.int32().min(1);
const VersionInQuery = z.object({ version: queryInt.optional() });
const VersionInBody = z.object({ version: z.number().optional() });

export function assistantRoutes(assistants: Assistants): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  app.post("/assistants", async (c) =>
    c.json(await assistants.create(principalOf(c), await parseBody(AssistantCreate, c))),
  );

  app.post("/assistants/search", async (c) => {
    const search = await parseBody(AssistantSearch, c);
    return paged(c, search, await assistants.search(principalOf(c), search));
  });

  app.post("/assistants/count", async (c) =>
    c.json(await assistants.count(principalOf(c), await parseBody(AssistantFilter, c))),
  );

  app.get("/assistants/:assistant_id", async (c) =>
    c.json(await assistants.get(principalOf(c), c.req.param("assistant_id"))),
  );

  app.patch("/assistants/:assistant_id", async (c) => {
    const patch = await parseBody(AssistantPatch, c);
    return c.json(await assistants.patch(principalOf(c), c.req.param("assistant_id"), patch));
  });

  app.delete("/assistants/:assistant_id", async (c) => {
    const { delete_threads } = parseQuery(DeleteQuery, c);
    await assistants.delete(principalOf(c), c.req.param("assistant_id"), { withThreads: delete_threads });
    return c.body(null, 204);
  });

  app.get("/assistants/:assistant_id/graph", async (c) => {
    const { xray } = parseQuery(DrawingQuery, c);
    return c.json(await assistants.drawing(principalOf(c), c.req.param("assistant_id"), xray));
  });

  app.get("/assistants/:assistant_id/schemas", async (c) =>
    c.json(await assistants.schemas(principalOf(c), c.req.param("assistant_id"))),
  );

  app.get("/assistants/:assistant_id/subgraphs/:namespace?", async (c) => {
    const { recurse } = parseQuery(SubgraphsQuery, c);
    const options = { namespace: c.req.param("namespace"), recurse };
    return c.json(await assistants.subgraphs(principalOf(c), c.req.param("assistant_id"), options));
  });

  app.post("/assistants/:assistant_id/versions", async (c) => {
    const query = await parseBody(VersionQuery, c);
    return c.json(await assistants.versions(principalOf(c), c.req.param("assistant_id"), query));
  });

  app.post("/assistants/:assistant_id/latest", async (c) => {
    const given = { ...parseQuery(VersionInQuery, c), ...(await parseBody(VersionInBody, c)) };
    const version = parse(Version, given.version);
    return c.json(await assistants.setLatest(principalOf(c), c.req.param("assistant_id"), version));
  });

  return app;
}
