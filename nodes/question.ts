/**
 * One value for all clients: each looks for its own keys (LangChain's middleware in camelCase, agent-chat-ui in
 * snake_case, agent-inbox `action_request`).
 */
interface Asked {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly description: string;
  readonly decisions: readonly string[];
  readonly argsSchema?: object;
  /** For agent-inbox. */
  readonly config: Readonly<Record<`allow_${"accept" | "edit" | "respond" | "ignore"}`, boolean>>;
}

export function superset({ name, args, description, decisions, argsSchema, config }: Asked) {
  const actions = [{ name, action_name: name, args, arguments: args, description }];
  const configs = [
    {
      actionName: name,
      action_name: name,
      allowedDecisions: decisions,
      allowed_decisions: decisions,
      ...(argsSchema && { argsSchema, args_schema: argsSchema }),
    },
  ];
  return {
    actionRequests: actions,
    action_requests: actions,
    reviewConfigs: configs,
    review_configs: configs,
    action_request: { action: name, args },
    config,
    description,
  };
}
