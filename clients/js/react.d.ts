/** Hooks for React. */

import type { ReactElement, ReactNode } from "react";
import type {
  EntityFailure,
  EntityRefusal,
  EntityRow,
  Gap,
  Member,
  Message,
  Refusal,
  Status,
  Trunkline,
} from "./trunkline.js";

/** Give a line to the components inside. */
export function TrunklineProvider(props: { line: Trunkline; children?: ReactNode }): ReactElement;

/** Return the line of the provider around. */
export function useTrunkline(): Trunkline;

/** Return the line's status and transport. */
export function useStatus(): { status: Status; transport: string | null };

export interface ChannelOptions<Data = unknown> {
  /** Where to begin when the channel is first used; see `subscribe`. */
  position?: string | 0 | null;
  last?: number | null;
  /** How many of the newest messages are returned. Default 100. */
  keep?: number;
  onMessage?: (message: Message<Data>) => void;
  onGap?: (gap: Gap) => void;
}

/** Receive a channel's messages; null for none now. */
export function useChannel<Data = unknown>(
  channel: string | null,
  options?: ChannelOptions<Data>,
): { messages: Message<Data>[]; gap: Gap | null; refused: Refusal | null };

/** Be shown an entity; `value` is undefined until its first state has come, null when it is removed. */
export function useEntity<Value = unknown>(
  entity: string,
  id: string | null,
): {
  value: Value | null | undefined;
  rows: EntityRow[];
  removed: boolean;
  version: string | null;
  failure: EntityFailure | null;
  refused: EntityRefusal | null;
};

/** Know who is on a channel. */
export function usePresence(channel: string): Member[];
