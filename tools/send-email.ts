import { z } from "zod";
import { deliverBySmtp, deliverToOutbox, type Email, findInOutbox } from "./mail.ts";
import { defineTool } from "./tool.ts";

/** Nothing that could end a header line. */
const Subject = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\u2028\u2029]*$/u, "A subject is one line");
const Address = z.email().max(254);

export const sendEmail = defineTool({
  name: "send_email",
  description:
    "Sends a plain-text e-mail from this installation's own address. A person approves each one first, and it cannot be taken back. It has no attachments and cannot read mail.",
  input: z.strictObject({
    to: z.array(Address).min(1).max(20),
    subject: Subject,
    body: z.string().min(1).max(50_000),
  }),
  effect: "irreversible",
  needsApproval: true,
  timeoutMs: 30_000,
  async run({ to, subject, body }, { config, host, idempotencyKey, signal }) {
    const email: Email = { from: config.emailFrom, to, subject, text: body, date: host.now(), key: idempotencyKey };
    return config.smtpUrl ? deliverBySmtp(config.smtpUrl, email, signal) : deliverToOutbox(config.dataDir, email);
  },
  /** A mail server cannot be asked. A file that is not on this disk may be on another machine's. */
  async reconcile(_, { config, idempotencyKey }) {
    if (config.smtpUrl) return { happened: "unknown" };
    const found = await findInOutbox(config.dataDir, { from: config.emailFrom, key: idempotencyKey });
    return found ? { happened: true, result: found } : { happened: "unknown" };
  },
});
