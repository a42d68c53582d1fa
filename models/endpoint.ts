/** Which model this process talks to: the configured endpoint, or the built-in demo model when none is configured. */
import { z } from "zod";
import { config } from "../lib/config.ts";
import { PawlError } from "../lib/errors.ts";
import { startDemoModel } from "./demo/server.ts";

interface ModelAddress {
  /** Ends in /v1. */
  readonly baseUrl: string;
  readonly apiKey: string;
  /** For people: the host, never the key. */
  readonly label: string;
}

export interface ModelEndpoint extends ModelAddress {
  readonly name: string;
}

/** Milliseconds for a look at the list of models. */
const LIST_TIMEOUT_MS = 3_000;

const ModelList = z.object({ data: z.array(z.object({ id: z.string() })) });

let demo: Promise<ModelAddress> | undefined;
let discoveredName: string | undefined;

/** The address alone; needs no answer from the endpoint. The demo model starts once a process, on first use. */
export async function modelAddress(): Promise<ModelAddress> {
  const { baseUrl, apiKey = "none" } = config().model;
  if (baseUrl === undefined) return (demo ??= startDemoModel());
  return { baseUrl, apiKey, label: new URL(baseUrl).host };
}

/** The address with the model's name: MODEL_NAME, or the first one listed. Throws `model_unavailable` if none is. */
export async function modelEndpoint(): Promise<ModelEndpoint> {
  const address = await modelAddress();
  const name = config().model.name ?? (discoveredName ??= (await listModels(address))[0]);
  if (name === undefined) throw new PawlError("model_unavailable", "The model endpoint lists no model");
  return { ...address, name };
}

/** The ids of `GET /v1/models`. Throws `model_unavailable`. */
export async function listModels({ baseUrl, apiKey }: ModelAddress): Promise<string[]> {
  try {
    const response = await fetch(`${baseUrl.replace(/\/$/, "")}/models`, {
      headers: { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.timeout(LIST_TIMEOUT_MS),
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new PawlError("model_unavailable", `The model endpoint answered with status ${response.status}`);
    }
    return ModelList.parse(await response.json()).data.map(({ id }) => id);
  } catch (cause) {
    if (cause instanceof PawlError) throw cause;
    throw new PawlError("model_unavailable", "The model endpoint does not list its models", { cause });
  }
}
