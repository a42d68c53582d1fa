/** What the server may ask about assistants. Each is named by its id or, for a graph's own one, by the graph's id. */
import type pg from "pg";
import type { Principal } from "../../lib/principal.ts";
import type { Graphs } from "../index.ts";
import type { Threads } from "../threads/threads.ts";
import type { Assistant, AssistantCreate, AssistantPatch, AssistantVersion } from "./assistant.ts";
import { createAssistant, createSystemAssistants } from "./create.ts";
import { deleteAssistant, threadsOfAssistant } from "./delete.ts";
import { draw, type Drawing, subgraphSchemas, type SubgraphSchemas } from "./drawing.ts";
import { graphNotFound, loadGraph } from "./load-graph.ts";
import { assistantIdFrom, resolveAssistant } from "./resolve.ts";
import { type GraphSchemas, schemasOf } from "./schemas.ts";
import {
  type AssistantFilter,
  type AssistantPage,
  type AssistantSearch,
  countAssistants,
  searchAssistants,
} from "./search.ts";
import { listVersions, patchAssistant, setLatest, type VersionQuery } from "./versions.ts";

/** Whoever names an assistant that is not there gets `assistant_not_found`; a graph that is not loaded, `graph_not_found`. */
export interface Assistants {
  /** At start: gives each loaded graph its own assistant. */
  createForGraphs(principal: Principal): Promise<void>;
  /** Throws `already_exists`. */
  create(principal: Principal, body: AssistantCreate): Promise<Assistant>;
  get(principal: Principal, id: string): Promise<Assistant>;
  search(principal: Principal, search: AssistantSearch): Promise<AssistantPage>;
  count(principal: Principal, filter: AssistantFilter): Promise<number>;
  /** The new latest version. */
  patch(principal: Principal, id: string, patch: AssistantPatch): Promise<Assistant>;
  /** `withThreads`: and the threads on which it was the last to run. */
  delete(principal: Principal, id: string, options: { withThreads: boolean }): Promise<void>;
  versions(principal: Principal, id: string, query: VersionQuery): Promise<AssistantVersion[]>;
  setLatest(principal: Principal, id: string, version: number): Promise<Assistant>;
  /** `xray`: whether subgraphs are drawn, or how many levels of them. */
  drawing(principal: Principal, id: string, xray: boolean | number): Promise<Drawing>;
  schemas(principal: Principal, id: string): Promise<GraphSchemas & { graph_id: string }>;
  subgraphs(
    principal: Principal,
    id: string,
    options: { namespace?: string | undefined; recurse: boolean },
  ): Promise<Record<string, SubgraphSchemas>>;
}

interface AssistantsContext {
  readonly pool: pg.Pool;
  readonly graphs: Graphs;
  readonly threads: Pick<Threads, "prune">;
}

export function createAssistants({ pool, graphs, threads }: AssistantsContext): Assistants {
  async function graphFor(principal: Principal, id: string) {
    const { graph_id, config } = await resolveAssistant(pool, principal, id);
    return { graph_id, graph: await loadGraph(graphs, graph_id, config) };
  }

  function checkGraph(graphId: string | null | undefined): void {
    if (graphId && !graphs.has(graphId)) throw graphNotFound(graphId);
  }

  return {
    createForGraphs: (principal) => createSystemAssistants(pool, principal, graphs),
    async create(principal, body) {
      checkGraph(body.graph_id);
      return createAssistant(pool, principal, body);
    },
    get: (principal, id) => resolveAssistant(pool, principal, id),
    search: (principal, search) => searchAssistants(pool, principal, search),
    count: (principal, filter) => countAssistants(pool, principal, filter),
    async patch(principal, id, patch) {
      checkGraph(patch.graph_id);
      return patchAssistant(pool, principal, { assistantId: assistantIdFrom(id), patch });
    },
    async delete(principal, id, { withThreads }) {
      const assistantId = assistantIdFrom(id);
      await deleteAssistant(pool, principal, assistantId);
      if (withThreads) {
        await threads.prune(principal, await threadsOfAssistant(pool, principal, assistantId), "delete");
      }
    },
    versions: (principal, id, query) => listVersions(pool, principal, { ...query, assistantId: assistantIdFrom(id) }),
    setLatest: (principal, id, version) => setLatest(pool, principal, { assistantId: assistantIdFrom(id), version }),
    drawing: async (principal, id, xray) => draw((await graphFor(principal, id)).graph, xray),
    async schemas(principal, id) {
      const { graph_id, graph } = await graphFor(principal, id);
      return { graph_id, ...schemasOf(graph) };
    },
    subgraphs: async (principal, id, options) => subgraphSchemas((await graphFor(principal, id)).graph, options),
  };
}
