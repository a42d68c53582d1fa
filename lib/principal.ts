/** On whose behalf something is done. An argument of every public function, so that no query forgets its tenant. */
export interface Principal {
  readonly tenant: string;
  /** The caller's identity for `created_by`; null when nobody is authenticated. */
  readonly identity: string | null;
}

/** Who calls while no authentication is configured. */
export const localPrincipal: Principal = { tenant: "default", identity: null };
