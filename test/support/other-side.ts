/** The other side of effects: an HTTP server that counts what is sent to it by key, and lets a test stop a call at any stage. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Stage = "before" | "send" | "after" | "ask";

export interface OtherSide extends AsyncDisposable {
  readonly url: string;
  /** How often each key was sent. */
  readonly sent: Map<string, number>;
  /** The next request of that stage gets no answer; resolves when it has come, with what answers it after all. */
  hold(stage: Stage): Promise<() => void>;
}

export async function otherSide(): Promise<OtherSide> {
  const sent = new Map<string, number>();
  const held = new Map<Stage, (answer: () => void) => void>();
  const answers: Record<Stage, (key: string) => unknown> = {
    before: () => null,
    send: (key) => ({ receipt: sent.get(key) }),
    after: () => null,
    ask: (key) => (sent.has(key) ? { happened: true, result: { receipt: sent.get(key) } } : { happened: false }),
  };
  const server = createServer((request, response: ServerResponse) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://any");
    const stage = pathname.slice(1) as Stage;
    const key = searchParams.get("key") ?? "";
    request.resume();
    if (stage === "send") sent.set(key, (sent.get(key) ?? 0) + 1);
    const arrived = held.get(stage);
    held.delete(stage);
    const body = JSON.stringify(answers[stage](key));
    const answer = (): void => void response.end(body);
    if (arrived) arrived(answer);
    else answer();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    hold: (stage) => new Promise((resolve) => held.set(stage, resolve)),
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
