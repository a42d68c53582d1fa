/** docs/api.md lists the endpoints and the errors that the server has. */
import { expect, test } from "vitest";
import { errorCodes, PawlError } from "../../lib/errors.ts";
import { assistantRoutes } from "../../server/assistants.ts";
import { effectRoutes } from "../../server/effects.ts";
import { fileRoutes } from "../../server/files.ts";
import { metaRoutes } from "../../server/meta.ts";
import { createMetrics } from "../../server/metrics.ts";
import { toProblem } from "../../server/problem.ts";
import { runRoutes } from "../../server/runs.ts";
import { threadRoutes } from "../../server/threads.ts";
import { silent } from "../support/database.ts";
import { testApp } from "../support/serve.ts";
import { tableUnder } from "./documents.ts";

/** Routes are only listed here, never called. */
const unused = {} as never;

test("the endpoints of the page are those of the server", () => {
  const runs = { runs: unused, log: silent, heartbeatSeconds: 1, closing: AbortSignal.abort() };
  const metrics = createMetrics({ figures: unused, pools: unused });
  const files = fileRoutes(unused);
  const routes = [
    metrics.routes,
    metaRoutes({ checks: unused }),
    runRoutes(runs),
    threadRoutes(unused),
    files,
    effectRoutes(unused),
    assistantRoutes(unused),
  ];
  const served = testApp({ routes }).routes.filter(({ method }) => method !== "ALL");
  metrics.close();
  const listed = tableUnder("docs/api.md", "Endpoints").map(([endpoint = ""]) => endpoint);
  expect(listed.toSorted()).toEqual(served.map(({ method, path }) => `${method} ${path}`).toSorted());
});

test("the error codes of the page are those of the server, each with its status", () => {
  const listed = tableUnder("docs/api.md", "Errors").map(([code, status]) => [code, Number(status)]);
  expect(listed).toEqual(errorCodes.map((code) => [code, toProblem(new PawlError(code, "")).status]));
});
