/** `fetch` for an MCP server on the network: by the rules for tools' requests, to its own host, and not without end. */
import { Readable, Transform } from "node:stream";
import { send } from "../outgoing.ts";
import { ToolFailure } from "../tool.ts";
import type { McpAddress } from "./server.ts";

/** Of all answers of one connection. */
const maxBytes = 4 * 1_024 * 1_024;

/** Answers that have no content (RFC 9110). */
const isEmpty = (status: number): boolean => status === 204 || status === 205 || status === 304;

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** For one connection. `stop` is called when there is too much: whoever waits for an answer then waits in vain. */
export function boundedFetch(server: McpAddress, signal: AbortSignal, stop: (because: Error) => void): Fetch {
  const { host } = new URL(server.url);
  const allow = [withPort(host, server.url)];
  let total = 0;
  const bound = (): Transform =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        total += chunk.length;
        if (total <= maxBytes) return done(null, chunk);
        const error = new ToolFailure("FAILED", `The MCP server sent more than ${maxBytes} bytes`);
        stop(error);
        done(error);
      },
    });
  return async (url, init = {}) => {
    const answer = await send({
      url: new URL(url),
      allow,
      signal: init.signal ? AbortSignal.any([signal, init.signal]) : signal,
      method: init.method ?? "GET",
      headers: { ...Object.fromEntries(new Headers(init.headers)), ...server.headers },
      ...(typeof init.body === "string" && { body: init.body }),
    });
    const status = answer.statusCode ?? 502;
    const headers = Object.entries(answer.headersDistinct).flatMap(([name, values = []]) =>
      values.map((value): [string, string] => [name, value]),
    );
    if (isEmpty(status)) answer.resume();
    const body = isEmpty(status)
      ? null
      : (Readable.toWeb(bounded(answer, bound())) as unknown as ConstructorParameters<typeof Response>[0]);
    return new Response(body, { status, headers });
  };
}

function bounded(answer: Readable, by: Transform): Readable {
  answer.once("error", (error) => by.destroy(error));
  by.once("close", () => answer.destroy());
  return answer.pipe(by);
}

/** A host without a port would mean both of the web's. */
function withPort(host: string, url: string): string {
  const { port, protocol } = new URL(url);
  return port ? host : `${host}:${protocol === "https:" ? 443 : 80}`;
}
