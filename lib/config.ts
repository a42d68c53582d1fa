/**
 * The one place that reads the environment. `readConfig` is pure; `config()` reads the process's own
 * environment once, lazily, so that graph files also work where our main program never runs.
 */
import { z } from "zod";
import { PawlError } from "./errors.ts";
import { isolations } from "./isolation.ts";

const flag = z.stringbool().default(false);

/** 32 bytes as 64 hexadecimal digits or as base64. */
const encryptionKey = z.string().transform((text, context) => {
  const bytes = Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? "hex" : "base64");
  if (bytes.length === 32) return new Uint8Array(bytes);
  // Never the text itself: the message is logged.
  context.addIssue({ code: "custom", message: "must be 32 bytes each, in base64 or hexadecimal" });
  return z.NEVER;
});

function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** The reasons for the defaults stand in docs/architecture.md. */
const Environment = z.object({
  /** Postgres 14 or newer; without it an embedded one runs under PAWL_DATA_DIR. */
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  /** Base of an OpenAI-compatible API, ending in /v1; without it the built-in demo model answers. */
  MODEL_BASE_URL: z.url({ protocol: /^https?$/ }).optional(),
  MODEL_API_KEY: z.string().min(1).optional(),
  MODEL_NAME: z.string().min(1).optional(),
  /** Milliseconds for one model call. */
  MODEL_TIMEOUT_MS: z.coerce.number().int().min(100).default(30_000),
  PAWL_DATA_DIR: z.string().min(1).default(".pawl"),
  PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  /** Runs that one process executes at once. */
  PAWL_WORKER_CONCURRENCY: z.coerce.number().int().min(1).max(1_000).default(10),
  /** Seconds without a heartbeat after which a worker's runs go to others. */
  PAWL_LEASE_SECONDS: z.coerce.number().int().min(2).max(3_600).default(10),
  /** Bytes of a request body that are accepted. */
  PAWL_MAX_BODY_BYTES: z.coerce
    .number()
    .int()
    .min(1_024)
    .default(8 * 1_024 * 1_024),
  /** Seconds between two heartbeat comments of an event stream. */
  PAWL_HEARTBEAT_SECONDS: z.coerce.number().positive().default(5),
  /** Seconds that the events of a finished run stay readable; ten times longer if it is resumable. */
  PAWL_EVENT_TTL_SECONDS: z.coerce.number().int().min(1).default(120),
  /** Keys under which stored values are encrypted, separated by commas: the first encrypts, all of them decrypt. */
  PAWL_ENCRYPTION_KEYS: z
    .string()
    .default("")
    .transform(list)
    .pipe(z.array(encryptionKey).refine((keys) => new Set(keys.map(String)).size === keys.length, "must differ")),
  /** Mounts `POST /internal/truncate`, which conformance suites need. Never set it in production. */
  PAWL_INTERNAL_ROUTES: flag,
  /** Extra browser origins that may call the API, separated by commas. */
  PAWL_CORS_ORIGINS: z.string().default(""),
  /** Extra `Host` values that are served, separated by commas. */
  PAWL_ALLOWED_HOSTS: z.string().default(""),
  /** The weakest isolation in which code of a model may run; a machine that has nothing as strong runs none. */
  PAWL_SANDBOX_MIN: z.enum(isolations).default("wasm"),
  /** A sandbox on another machine (`pawl sandbox-server`), and the secret that both sides know. */
  PAWL_SANDBOX_REMOTE_URL: z.url({ protocol: /^https?$/ }).optional(),
  PAWL_SANDBOX_REMOTE_TOKEN: z
    .string()
    .regex(/^[\w.~+/=-]{16,}$/, "16 characters or more, of those that a bearer token may have")
    .optional(),
  /** The image in which Docker or Podman runs code; without it neither does. */
  PAWL_SANDBOX_CONTAINER_IMAGE: z
    .string()
    .regex(/^[a-z0-9][\w./:@-]*$/i)
    .optional(),
  /** Hosts that the tool `fetch_url` may reach, separated by commas; `*.x` matches subdomains. */
  PAWL_FETCH_ALLOW: z.string().default(""),
  /** `smtp://user:password@host:port`; without it e-mails are written to a folder. */
  PAWL_SMTP_URL: z.url({ protocol: /^smtps?$/ }).optional(),
  PAWL_EMAIL_FROM: z.string().min(3).default("agent@localhost"),
});

/** Throws `bad_configuration` that lists every bad variable, so a deploy fails once and not variable by variable. */
export function readConfig(env: Record<string, string | undefined>) {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = Environment.safeParse(given);
  if (!parsed.success) {
    throw new PawlError("bad_configuration", `Bad configuration\n${z.prettifyError(parsed.error)}`);
  }
  const e = parsed.data;
  return Object.freeze({
    databaseUrl: e.DATABASE_URL,
    model: Object.freeze({
      baseUrl: e.MODEL_BASE_URL,
      apiKey: e.MODEL_API_KEY,
      name: e.MODEL_NAME,
      timeoutMs: e.MODEL_TIMEOUT_MS,
    }),
    dataDir: e.PAWL_DATA_DIR,
    port: e.PORT,
    logLevel: e.LOG_LEVEL,
    workerConcurrency: e.PAWL_WORKER_CONCURRENCY,
    leaseSeconds: e.PAWL_LEASE_SECONDS,
    maxBodyBytes: e.PAWL_MAX_BODY_BYTES,
    heartbeatSeconds: e.PAWL_HEARTBEAT_SECONDS,
    eventTtlSeconds: e.PAWL_EVENT_TTL_SECONDS,
    encryptionKeys: e.PAWL_ENCRYPTION_KEYS,
    internalRoutes: e.PAWL_INTERNAL_ROUTES,
    corsOrigins: list(e.PAWL_CORS_ORIGINS),
    allowedHosts: list(e.PAWL_ALLOWED_HOSTS),
    sandboxMin: e.PAWL_SANDBOX_MIN,
    sandboxRemote: Object.freeze({ url: e.PAWL_SANDBOX_REMOTE_URL, token: e.PAWL_SANDBOX_REMOTE_TOKEN }),
    sandboxImage: e.PAWL_SANDBOX_CONTAINER_IMAGE,
    fetchAllow: list(e.PAWL_FETCH_ALLOW),
    smtpUrl: e.PAWL_SMTP_URL,
    emailFrom: e.PAWL_EMAIL_FROM,
  });
}

export type Config = ReturnType<typeof readConfig>;

let current: Config | undefined;

/** The configuration of this process, read on first use. */
export function config(): Config {
  current ??= readConfig(process.env);
  return current;
}

/** What only the operator may set: where the data is and who may reach it is no business of a project's file. */
const isProtected = (name: string): boolean => name === "DATABASE_URL" || name.startsWith("PAWL_");

/**
 * Adds what a project expects in the environment and the process does not have. Comes before the first `config()`.
 * Throws `bad_configuration` for the names that are the operator's.
 */
export function addToEnvironment(values: Readonly<Record<string, string>>): void {
  const refused = Object.keys(values).filter(isProtected);
  if (refused.length > 0) {
    throw new PawlError("bad_configuration", `The project's env may not set ${refused.join(", ")}; set it outside`);
  }
  for (const [name, value] of Object.entries(values)) process.env[name] ??= value;
}
