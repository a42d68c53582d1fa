/** HTTP requests of tools, to the places that egress.ts allows and at the very address that it checked. */
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { destinationOf } from "./egress.ts";
import { ToolFailure } from "./tool.ts";

interface Outgoing {
  readonly url: URL;
  /** As `destinationOf` takes it. */
  readonly allow: readonly string[];
  readonly signal: AbortSignal;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Resolves with the head of the answer. A redirect is an answer like any other. Throws `ToolFailure`. */
export async function send({ url, allow, signal, method = "GET", headers, body }: Outgoing): Promise<IncomingMessage> {
  const destination = await destinationOf(url, allow);
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      agent: false,
      method,
      signal,
      headers: { ...headers, "accept-encoding": "identity", "user-agent": "pawl" },
      // Connects to the address that was checked, whatever the name means by now; TLS still verifies the name.
      lookup: (_host, options, done) =>
        options.all ? done(null, [destination]) : done(null, destination.address, destination.family),
    });
    request.once("response", resolve);
    request.once("error", () => {
      reject(
        signal.aborted
          ? signal.reason
          : new ToolFailure("FAILED", `${url.host} cannot be reached`, { transient: true }),
      );
    });
    request.end(body);
  });
}
