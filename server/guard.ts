/**
 * Nobody but the person at this machine can drive the server until they say so. A web page that they visit must not
 * either: `Host` is checked on every request (a name rebound to 127.0.0.1 carries the page's own), and `Origin` on
 * every request that is not a read.
 */
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { PawlError } from "../lib/errors.ts";

export interface GuardOptions {
  /** The address that the server binds. */
  readonly bindHost: string;
  /**
   * With `--insecure` on an address that others reach: their `Host` cannot be known and is not checked. Pages of other
   * origins stay out all the same.
   */
  readonly anyHost: boolean;
  /** Further names by which the server is called, without a port or with the one that they must have. */
  readonly allowedHosts: readonly string[];
  /** Further origins whose pages may call. */
  readonly corsOrigins: readonly string[];
}

const STUDIO = "https://smith.langchain.com";
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const reads = new Set(["GET", "HEAD", "OPTIONS"]);
const loopback = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** Whether only this machine can reach what listens on `host`. */
export function isLoopback(host: string): boolean {
  return loopback.has(host) || host === "::1";
}

/** The guards, in the order in which they run. */
export function guard(options: GuardOptions): MiddlewareHandler[] {
  const isAllowed = (c: Context, origin: string) => isAllowedOrigin(options, origin, hostOf(c));
  return [
    async (c, next) => {
      if (!isAllowedHost(options, hostOf(c))) {
        const detail = "This server is not called by that Host; PAWL_ALLOWED_HOSTS adds names";
        throw new PawlError("forbidden_host", detail);
      }
      await next();
    },
    privateNetwork(isAllowed),
    cors({
      origin: (origin, c) => (isAllowed(c, origin) ? origin : null),
      allowMethods: methods,
      exposeHeaders: ["content-location", "location", "x-pagination-total", "x-pagination-next"],
      maxAge: 600,
    }),
    async (c, next) => {
      const origin = c.req.header("origin");
      if (origin !== undefined && !reads.has(c.req.method) && !isAllowed(c, origin)) {
        const detail = "Pages of that Origin may not call this server; PAWL_CORS_ORIGINS adds origins";
        throw new PawlError("forbidden_origin", detail);
      }
      await next();
    },
  ];
}

/** Chrome asks before a page of a public site may call a private address. */
function privateNetwork(isAllowed: (c: Context, origin: string) => boolean): MiddlewareHandler {
  return async (c, next) => {
    await next();
    const asked = c.req.header("access-control-request-private-network") === "true";
    if (asked && isAllowed(c, c.req.header("origin") ?? "")) {
      c.header("access-control-allow-private-network", "true");
    }
  };
}

/** The `Host` header; a request that never crossed the network has only its URL. */
function hostOf(c: Context): string {
  return (c.req.header("host") ?? new URL(c.req.url).host).toLowerCase();
}

function isAllowedHost(options: GuardOptions, host: string): boolean {
  if (options.anyHost) return true;
  const name = host.replace(/:\d{1,5}$/, "");
  const known = [options.bindHost, `[${options.bindHost}]`, ...options.allowedHosts].map((item) => item.toLowerCase());
  return loopback.has(name) || known.includes(name) || known.includes(host);
}

function isAllowedOrigin(options: GuardOptions, origin: string, host: string): boolean {
  if (origin === STUDIO || options.corsOrigins.includes(origin)) return true;
  // `null` is the origin of sandboxed frames and of files: anybody's.
  const url = URL.parse(origin);
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) return false;
  // Where every Host is served, any name may lead here: a page counts as our own by a name that is known to be ours.
  return loopback.has(url.hostname) || (url.host === host && isAllowedHost({ ...options, anyHost: false }, host));
}
