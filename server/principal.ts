/** Who calls. Until authentication exists everybody who passes the guard is the person at this machine. */
import type { Context } from "hono";
import { localPrincipal, type Principal } from "../lib/principal.ts";

export function principalOf(_c: Context): Principal {
  return localPrincipal;
}
