/**
 * Where tools may connect to. Deny by default: a host is reached only if the operator listed it, and only at an
 * address that is public. The address is checked after it was resolved, and that very address is connected to, so a
 * name that answers differently the second time (DNS rebinding) gains nothing.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP, isIPv6 } from "node:net";
import { ToolFailure } from "./tool.ts";

interface Destination {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Not public: RFC 6890 and its successors in the IANA special-purpose registry, multicast and reserved. */
const special4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const;
/** Of IPv6 only 2000::/3 is public; in it, these embed or tunnel other addresses, or are for documents. */
const special6 = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const;

const special = new BlockList();
for (const [net, prefix] of special4) special.addSubnet(net, prefix, "ipv4");
for (const [net, prefix] of special6) special.addSubnet(net, prefix, "ipv6");
const global6 = new BlockList();
global6.addSubnet("2000::", 3, "ipv6");

export function isPublicAddress(address: string): boolean {
  if (isIPv6(address)) return global6.check(address, "ipv6") && !special.check(address, "ipv6");
  return isIP(address) === 4 && !special.check(address, "ipv4");
}

/**
 * The address to connect to for `url`. An entry of `allow` is a host, or `*.host` for its subdomains, either with a
 * port; without one it means 80 and 443. Only an entry that is itself an address may name one that is not public.
 * Throws `ToolFailure`.
 */
export async function destinationOf(url: URL, allow: readonly string[]): Promise<Destination> {
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new ToolFailure("DENIED", "Only http and https are allowed");
  if (url.username || url.password)
    throw new ToolFailure("DENIED", "A URL with a user name or password is not allowed");
  const entry = allow.find((candidate) => matches(candidate.toLowerCase(), url));
  if (!entry) {
    const hosts =
      allow.length > 0
        ? `Allowed: ${allow.join(", ")}`
        : "No host is allowed; the operator lists them in PAWL_FETCH_ALLOW";
    throw new ToolFailure("DENIED", `${url.host} is not an allowed host. ${hosts}`);
  }
  const host = bare(url.hostname);
  if (isIP(host)) {
    // `matches` has shown that the entry is this address: there are no wildcards over addresses.
    return { address: host, family: isIPv6(host) ? 6 : 4 };
  }
  const answers = await lookup(host, { all: true }).catch(() => {
    throw new ToolFailure("FAILED", `${host} cannot be resolved`, { transient: true });
  });
  const [first] = answers;
  if (!first || !answers.every(({ address }) => isPublicAddress(address))) {
    throw new ToolFailure("DENIED", `${host} does not have a public address`);
  }
  return { address: first.address, family: first.family === 6 ? 6 : 4 };
}

function matches(entry: string, url: URL): boolean {
  const [, pattern = "", port] =
    /^(.*?)(?::(\d+))?$/.exec(entry.startsWith("[") || !isIPv6(entry) ? entry : `[${entry}]`) ?? [];
  const actual = url.port || (url.protocol === "https:" ? "443" : "80");
  if (port ? port !== actual : actual !== "80" && actual !== "443") return false;
  const host = url.hostname.replace(/\.$/, "");
  if (pattern.startsWith("*.")) return !isIP(bare(host)) && host.endsWith(pattern.slice(1));
  return host === pattern;
}

/** An IPv6 host without its brackets. */
function bare(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}
