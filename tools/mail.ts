/**
 * Hands an e-mail to an SMTP server or, where none is configured, to a folder. The idempotency key becomes the
 * Message-ID, so that the receiving side can also tell a repetition.
 */
import { createHash } from "node:crypto";
import { open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createTransport, type SendMailOptions } from "nodemailer";
import type SMTPConnection from "nodemailer/lib/smtp-connection/index.js";
import { ensurePrivateFolder } from "./sandbox/machine-folders.ts";
import { ToolFailure } from "./tool.ts";

export interface Email {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly date: Date;
  /** The same for every attempt. */
  readonly key: string;
}

interface Delivery {
  readonly message_id: string;
  readonly delivered: "smtp" | "outbox";
  /** Recipients that the server did not take, while it took others. */
  readonly refused?: readonly string[];
}

const connectMs = 5_000;

/**
 * Throws `ToolFailure` when the server certainly did not take the message, and the library's error when nobody
 * knows. A connection that breaks looks the same to the library before and after the message, so the server is tried
 * first: what fails then has sent nothing.
 */
export async function deliverBySmtp(smtpUrl: string, email: Email, signal: AbortSignal): Promise<Delivery> {
  const transport = createTransport(connectionOf(smtpUrl));
  const close = (): void => transport.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    await transport.verify().catch(() => {
      throw new ToolFailure("FAILED", "The mail server cannot be reached");
    });
    signal.throwIfAborted();
    const { messageId, rejected } = await transport.sendMail(messageOf(email));
    return { message_id: messageId, delivered: "smtp", ...(rejected.length > 0 && { refused: rejected }) };
  } catch (error) {
    throw isRefusal(error) ? new ToolFailure("FAILED", "The mail server did not take the message") : error;
  } finally {
    signal.removeEventListener("abort", close);
    transport.close();
  }
}

/** Writes `<dataDir>/outbox/<time>-<key>.eml`, once for a key. */
export async function deliverToOutbox(dataDir: string, email: Email): Promise<Delivery> {
  const folder = join(dataDir, "outbox");
  await ensurePrivateFolder(folder);
  const name = `${email.date.toISOString().replaceAll(/[:.]/g, "-")}-${digestOf(email.key)}.eml`;
  const composer = createTransport({ streamTransport: true, buffer: true, newline: "windows" });
  const { message, messageId } = await composer.sendMail(messageOf(email));
  const delivery: Delivery = { message_id: messageId, delivered: "outbox" };
  if (!(await isInOutbox(dataDir, email.key))) await writeWhole(join(folder, name), message as Buffer);
  return delivery;
}

/** What delivering to this disk's outbox has returned, or would return, if the e-mail with this key is there. */
export async function findInOutbox(
  dataDir: string,
  { from, key }: Pick<Email, "from" | "key">,
): Promise<Delivery | undefined> {
  return (await isInOutbox(dataDir, key)) ? { message_id: messageIdOf(from, key), delivered: "outbox" } : undefined;
}

async function isInOutbox(dataDir: string, key: string): Promise<boolean> {
  const files = await readdir(join(dataDir, "outbox")).catch(() => []);
  return files.some((file) => file.endsWith(`-${digestOf(key)}.eml`));
}

function connectionOf(smtpUrl: string): SMTPConnection.Options {
  const { protocol, hostname, port, username, password } = new URL(smtpUrl);
  const secure = protocol === "smtps:";
  return {
    host: hostname,
    port: Number(port) || (secure ? 465 : 587),
    secure,
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    ...(username && { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
  };
}

function messageOf({ from, to, subject, text, date, key }: Email): SendMailOptions {
  return {
    from,
    to: [...to],
    subject,
    text,
    date,
    messageId: messageIdOf(from, key),
    // Text that came from a model must not name a file or URL for the library to load.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function messageIdOf(from: string, key: string): string {
  const domain = from.slice(from.lastIndexOf("@") + 1).replace(/>.*$/, "") || "localhost";
  return `<${digestOf(key)}@${domain}>`;
}

/** A definite answer of the server: 4xx or 5xx. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && "responseCode" in error && Number(error.responseCode) >= 400;
}

const digestOf = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 32);

/** Atomic: whoever picks up the outbox never sees half a message. */
async function writeWhole(path: string, content: Buffer): Promise<void> {
  const partial = `${path}.tmp`;
  try {
    const file = await open(partial, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
