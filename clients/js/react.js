/**
 * Hooks for React, which the application brings along.
 *
 *     <TrunklineProvider line={line}>…</TrunklineProvider>
 *     const { messages, gap } = useChannel("/chat/7", { last: 20 });
 *     const { value, removed } = useEntity("items", "100");
 */

import { createContext, createElement, useContext, useEffect, useRef, useState } from "react";

const Line = createContext(null);

/** Give a line to the components inside. */
export function TrunklineProvider({ line, children }) {
  return createElement(Line.Provider, { value: line }, children);
}

/** Return the line of the provider around. */
export function useTrunkline() {
  const line = useContext(Line);
  if (!line) throw new Error("no line here: put a <TrunklineProvider line={line}> around");
  return line;
}

/** Return the line's status and transport. */
export function useStatus() {
  const line = useTrunkline();
  const [state, setState] = useState({ status: line.status, transport: line.transport });
  useEffect(() => {
    const take = () => setState({ status: line.status, transport: line.transport });
    take();
    return line.on("status", take);
  }, [line]);
  return state;
}

/**
 * Receive a channel's messages: the newest `keep` of them are returned, and each is given to `onMessage`.
 *
 * @param {string|null} channel a name or a pattern; null for none now
 * @param {object} [options] `last`, `position`, `keep` (100), `onMessage`, `onGap`
 */
export function useChannel(channel, options = {}) {
  const line = useTrunkline();
  const latest = useRef(options);
  latest.current = options;
  const [state, setState] = useState(empty);
  useEffect(() => {
    setState(empty);
    if (channel === null) return undefined;
    const { position = null, last = null } = latest.current;
    const subscription = line.subscribe(
      channel,
      (message) => {
        const { keep = 100, onMessage } = latest.current;
        onMessage?.(message);
        setState((before) => ({ ...before, messages: [...before.messages, message].slice(-keep) }));
      },
      {
        position,
        last,
        onGap: (gap) => {
          latest.current.onGap?.(gap);
          setState((before) => ({ ...before, gap }));
        },
        onRefused: (refused) => setState((before) => ({ ...before, refused })),
      },
    );
    return () => subscription.unsubscribe();
  }, [line, channel]);
  return state;
}

const empty = { messages: [], gap: null, refused: null };

/** Be shown an entity; `value` is undefined until its first state has come. */
export function useEntity(entity, id) {
  const line = useTrunkline();
  const [state, setState] = useState(unknown);
  useEffect(() => {
    setState(unknown);
    if (id === null) return undefined;
    const watch = line.watch(
      entity,
      id,
      ({ value, rows, removed, version }) => setState({ ...unknown, value, rows, removed, version }),
      {
        onError: (failure) => setState((before) => ({ ...before, failure })),
        onRefused: (refused) => setState((before) => ({ ...before, refused })),
      },
    );
    return () => watch.unwatch();
  }, [line, entity, id]);
  return state;
}

const unknown = { value: undefined, rows: [], removed: false, version: null, failure: null, refused: null };

/** Know who is on a channel. */
export function usePresence(channel) {
  const line = useTrunkline();
  const [members, setMembers] = useState([]);
  useEffect(() => {
    setMembers([]);
    const presence = line.presence(channel, (change) => setMembers(change.members));
    return () => presence.unfollow();
  }, [line, channel]);
  return members;
}
