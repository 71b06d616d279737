/** Trunkline's browser client. */

export type TransportName = "websocket" | "sse" | "long-polling" | "polling";

export type Status = "connecting" | "live" | "waiting" | "offline" | "paused" | "stopped" | "closed";

/** One message of a channel. */
export interface Message<Data = unknown> {
  channel: string;
  /** Dense within the channel: 1, 2, 3 … */
  message_id: number;
  /** Dense within the line. */
  global_id: number;
  /** Unix seconds. Absent while polling, whose protocol has no such field. */
  published_at?: number;
  data: Data;
  /** Absent when there are none, and while polling. */
  headers?: Record<string, string>;
}

/** Messages before `position` can't be had any more: reload what was built from them. */
export interface Gap {
  /** `trimmed`: they were too old; `reset`: the log is another one now. */
  reason: "trimmed" | "reset";
  /** The channels and patterns concerned, as subscribed. */
  channels: string[];
  /** Where reading goes on; null while polling. */
  position: string | null;
}

/** The server does not serve this channel to us. */
export interface Refusal {
  channel: string;
  /** Such as `access-denied`, or `pattern-unsupported` while polling. */
  code: string;
  detail: string;
}

export interface StatusChange {
  status: Status;
  previous: Status;
  /** In use, or being tried. */
  transport: string | null;
  /** Why the connection ended: the server's word (`shutdown`, `expired` …) or ours, else empty. */
  reason: string;
  /** Milliseconds until the next attempt while waiting or offline. */
  retryIn: number | null;
}

/** Names what went wrong, with the server's problem code and HTTP status where there is one. */
export class TrunklineError extends Error {
  readonly code: string;
  readonly status: number | null;
  readonly transport: string | null;
}

/** A transport of your own: it reports to `context.sink` as the built-in ones do. */
export interface TransportKind {
  readonly transport: string;
  supported(env: object): boolean;
  new (context: object): {
    start(subscriptions: object[]): void;
    add(subscriptions: object[]): void;
    remove(subscriptions: object[]): void;
    close(): void;
    probe?(): void;
    readonly rhythm?: number;
  };
}

export interface Options {
  /** In order of preference. Default: `websocket`, `sse`, `long-polling`. */
  transports?: Array<TransportName | TransportKind>;
  /** Default: 32 random hex digits. */
  clientId?: string;
  /** Sent with SSE and polling requests; browsers allow none on a WebSocket. */
  headers?: Record<string, string>;
  /** For requests by fetch. Default: `same-origin`. */
  credentials?: RequestCredentials;
  /** The server's heartbeat interval in ms. Default 15000; the server's own word wins. */
  heartbeat?: number;
  /** Milliseconds between polls that are not held. Default 5000. */
  pollInterval?: number;
  /** Ceiling of the first wait and of all waits in ms. Default 500 and 30000. */
  backoff?: { base?: number; cap?: number };
  /** Milliseconds between such polls while the page is hidden. Default 60000. */
  hiddenPollInterval?: number;
  /** Milliseconds before the next poll when there is reason to ask at once. Default 100. */
  minPollInterval?: number;
  /** Whether held polls may be streamed. Default true. */
  streaming?: boolean;
  /** Milliseconds until a stream that shows nothing is taken for one a proxy holds back. Default 3000. */
  firstChunkTimeout?: number;
  /** Held polls without streaming after that. Default 30. */
  retryStreamingAfter?: number;
  /** Whether polls may be held now; asked before each. Default: always. */
  mayHold?: () => boolean;
  /**
   * Asked before each connection for credentials; `isExpired` when the server no longer takes the last
   * ones. Headers go with requests by fetch, the query also with the WebSocket.
   */
  authorize?: (state: { isExpired: boolean }) => Credentials | Promise<Credentials>;
  /**
   * Share one connection among all tabs of this browser that name the same text, such as the user's id.
   * Needs Web Locks, which pages over https or of localhost have; each tab has its own elsewhere.
   */
  share?: string | null;
  /** Whether to connect with the first subscription. Default true; else at `start`. */
  autoStart?: boolean;
  /** Replacements for fetch, WebSocket, timers, clock and chance, for tests. */
  env?: object;
}

export interface Credentials {
  headers?: Record<string, string>;
  query?: Record<string, string>;
}

export interface Start {
  /** Resume from here; `"0"` is the oldest kept; null, the default, is from now. */
  position?: string | 0 | null;
  /** Begin with the newest N messages. Not with a pattern, not with `position`. */
  last?: number | null;
  /** Hears gaps that concern this subscription. */
  onGap?: (gap: Gap) => void;
  /** Hears that this subscription is refused. */
  onRefused?: (refusal: Refusal) => void;
}

export interface Subscription {
  readonly channel: string;
  /**
   * Give it to `subscribe` later and nothing is lost. Null before the first answer; `"0"` while
   * only polling was used, which knows no positions of the line.
   */
  readonly position: string | null;
  unsubscribe(): void;
}

/** One row of a state; it may belong to another entity than the one that is watched. */
export interface EntityRow<Value = unknown> {
  entity: string;
  id: string;
  value: Value;
}

/** An entity as this viewer may see it. */
export interface EntityState<Value = unknown> {
  entity: string;
  id: string;
  /** How new it is. */
  version: string;
  /** It is not there, or not to be seen; it stays watched. */
  removed: boolean;
  /** The entity's own row, else the first; null when removed. */
  value: Value | null;
  rows: EntityRow[];
}

export interface EntityFailure {
  entity: string;
  id: string;
  /** `fetch-failed`, `fetch-timeout`, `fetch-unencodable` or `fetch-too-large`. */
  code: string;
  detail: string;
}

/** The server does not let us watch this entity. */
export interface EntityRefusal {
  entity: string;
  id: string;
  /** Such as `access-denied`, `unknown-entity` or `limit-exceeded`. */
  code: string;
  detail: string;
}

export interface WatchOptions {
  /** Hears that the state cannot be had now; the server goes on trying. */
  onError?: (failure: EntityFailure) => void;
  /** Hears that this entity is not watched. */
  onRefused?: (refusal: EntityRefusal) => void;
}

export interface Watch {
  readonly entity: string;
  readonly id: string;
  /** Null before the first state. */
  readonly version: string | null;
  unwatch(): void;
}

/** A client on a channel. */
export interface Member {
  client_id: string;
  user_id: string | number | null;
}

export interface PresenceChange {
  channel: string;
  /** All who are there now, in the order they came. */
  members: Member[];
  joined: Member[];
  left: Member[];
}

export interface Presence {
  readonly channel: string;
  readonly members: Member[];
  unfollow(): void;
}

export interface Diagnostics {
  status: Status;
  transport: string | null;
  clientId: string;
  subscriptions: Array<{ channel: string; position: string | null }>;
  watches: Array<{ entity: string; id: string; version?: string }>;
  /** The last hundred events but messages, oldest first; `at` is in Unix milliseconds. */
  log: Array<{ at: number; event: string; detail: unknown }>;
}

export interface Events {
  status: StatusChange;
  gap: Gap;
  /** Every message, once, before the callbacks of its subscriptions. */
  message: Message;
  error: TrunklineError;
  refused: Refusal | EntityRefusal;
  /** A position moved, whether a message came or not. */
  position: Trunkline;
}

/** A connection to one gateway, shared by any number of subscriptions. */
export class Trunkline {
  /** @param base the gateway's base path or URL, default `/` */
  constructor(base?: string, options?: Options);
  readonly clientId: string;
  readonly status: Status;
  readonly transport: string | null;
  /** Resumes all present subscriptions; null while one of them has no position. */
  readonly position: string | null;
  /** Receive a channel's messages, or those of every channel that matches a pattern. */
  subscribe<Data = unknown>(
    channel: string,
    callback: (message: Message<Data>) => void,
    start?: Start,
  ): Subscription;
  /** Unsubscribe a channel or pattern, or all with a prefix; only a callback's, if given. Returns how many. */
  unsubscribe(which: string | { prefix: string }, callback?: ((message: Message<any>) => void) | null): number;
  /** Be told who is on a channel: those there now, then each change. */
  presence(
    channel: string,
    callback: (change: PresenceChange) => void,
    options?: { onRefused?: (refusal: Refusal) => void },
  ): Presence;
  /** Be shown an entity: its present state, and each that follows. */
  watch<Value = unknown>(
    entity: string,
    id: string,
    callback: (state: EntityState<Value>) => void,
    options?: WatchOptions,
  ): Watch;
  /** Set the secret that the application's fetch is given; what is watched is asked for anew. */
  setSecret(text: string | null): void;
  /** Hear an event; returns a function that stops it. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
  /** Drop the connection and resume: at once, or `after` so many milliseconds. */
  reconnect(options?: { after?: number }): void;
  /** Use other transports from now on; subscriptions resume where they stand. */
  use(transports: Array<TransportName | TransportKind>): void;
  /** Receive nothing until `resume`, which goes on where each subscription stands. */
  pause(): void;
  resume(): void;
  /** Drop the connection until `start`; subscriptions stay. */
  stop(): void;
  start(): void;
  /** What is going on, and what happened last. */
  diagnostics(): Diagnostics;
  /** End the line for good. */
  close(): void;
}

/** What the classic script, `trunkline.global.js`, sets as the global `trunkline`. */
export interface Global {
  Trunkline: typeof Trunkline;
  TrunklineError: typeof TrunklineError;
  /** Give the global name back to whoever had it. */
  noConflict(): Global;
}
