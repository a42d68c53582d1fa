/** Whether the model can serve. The server starts and lives without it: this is for readiness, not for liveness. */
import { config } from "../lib/config.ts";
import { asError } from "../lib/errors.ts";
import { listModels, modelAddress } from "./endpoint.ts";

interface ModelReadiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reason?: string;
  readonly model?: string;
  /** The endpoint's label; empty when there is none, because the configuration is bad. */
  readonly endpoint: string;
}

/** Ready when the endpoint lists the model by its id. Never throws; takes at most a few seconds. */
export async function modelReadiness(): Promise<ModelReadiness> {
  let endpoint = "";
  try {
    const address = await modelAddress();
    endpoint = address.label;
    const listed = await listModels(address);
    const model = config().model.name ?? listed[0];
    if (model === undefined) return { ready: false, reason: "The model endpoint lists no model", endpoint };
    if (!listed.includes(model)) {
      return { ready: false, reason: "The model endpoint does not list this model", model, endpoint };
    }
    return { ready: true, model, endpoint };
  } catch (error) {
    return { ready: false, reason: asError(error).message, endpoint };
  }
}
