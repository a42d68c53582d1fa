/** Two steps; the second waits until the file that TEST_GATE names is there. */
import { gated } from "../../fault/graphs.ts";

const gate = process.env["TEST_GATE"] ?? "";

export const graph = gated(`${gate}.notes`, gate);
