/** `pawl/server`, for programs that bring the server up themselves: what cli.ts is wired from. cli.ts imports the files. */
export { addToEnvironment, type Config, readConfig } from "../lib/config.ts";
export { type ErrorCode, isPawlError, PawlError } from "../lib/errors.ts";
export { createLog, type Log } from "../lib/log.ts";
export { isolateRuns, type IsolateOptions } from "./isolate.ts";
export { loadGraphs } from "./load-graphs.ts";
export { type RunningServer, type ServeOptions, startServer } from "./main.ts";
export { applySchema, openDatabase, type OpenDatabase } from "./open-database.ts";
export { type GraphSource, type Project, readProject } from "./project.ts";
