/** How an MCP server is named in a graph file: a program that runs in a sandbox, or an address on the network. */
import { z } from "zod";
import { PawlError } from "../../lib/errors.ts";
import { isolations } from "../../lib/isolation.ts";

/** What the operator says of one tool. The server's own word ("read-only") is not asked: it may be anybody's. */
const ToolWord = z.strictObject({
  effect: z.enum(["none", "idempotent", "irreversible"]).optional(),
  needsApproval: z.boolean().optional(),
});

const common = {
  /** By the server's names. A tool that is not here, or has no `effect`, counts as irreversible and asks a person. */
  tools: z.record(z.string(), ToolWord).default({}),
  /** Only these, by the server's names. All where absent. */
  only: z.array(z.string()).optional(),
  /** Of one call, start of the server included. */
  timeoutMs: z.int().min(100).max(600_000).default(30_000),
};

export const McpProgram = z.strictObject({
  ...common,
  /** `node` is this installation's; others are programs of the system. */
  command: z.string().min(1),
  /** For `node`, the first is a file of JavaScript. */
  args: z.array(z.string()).default([]),
  /** All of its environment but for `PATH`, `HOME` and the like. */
  env: z.record(z.string(), z.string()).default({}),
  /** Absolute paths that it may read beside the system's programs: its code. */
  readable: z.array(z.string().startsWith("/")).default([]),
  /** Hosts that it may reach, and headers that the proxy adds for it. Only `bwrap` has a network. */
  network: z
    .strictObject({
      allow: z.array(z.string()),
      headers: z.record(z.string(), z.record(z.string(), z.string())).optional(),
    })
    .default({ allow: [] }),
  memMb: z.int().min(16).max(16_384).default(256),
  /** The weakest isolation for this server; never below `landlock`, which is the weakest that can run it. */
  minimum: z.enum(isolations).default("landlock"),
});
export type McpProgram = z.output<typeof McpProgram>;

export const McpAddress = z.strictObject({
  ...common,
  /** Streamable HTTP. Its host is the only one that is reached; one that is not public has to be named by its address. */
  url: z.url({ protocol: /^https?$/ }),
  headers: z.record(z.string(), z.string()).default({}),
});
export type McpAddress = z.output<typeof McpAddress>;

export type McpServer = McpProgram | McpAddress;
export type McpServerSettings = z.input<typeof McpProgram> | z.input<typeof McpAddress>;

/** Part of a tool's name. */
const ServerName = z.string().regex(/^[a-zA-Z0-9-]{1,24}$/, "a name has letters, digits and hyphens, 24 at most");

/** Throws `bad_configuration`, naming what is wrong. */
export function parseServers(servers: Readonly<Record<string, McpServerSettings>>): [string, McpServer][] {
  return Object.entries(servers).map(([name, settings]) => {
    const schema = "url" in settings ? McpAddress : McpProgram;
    const parsed = z.object({ name: ServerName, settings: schema }).safeParse({ name, settings });
    if (parsed.success) return [name, parsed.data.settings];
    throw new PawlError("bad_configuration", `The MCP server ${name}: ${z.prettifyError(parsed.error)}`);
  });
}
