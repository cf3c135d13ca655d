/**
 * Hooks for React 18 and later.
 *
 * @module
 */
import { createContext, createElement, type ReactNode, useCallback, useContext, useEffect, useReducer, useRef, useSyncExternalStore } from "react";
import type { Events, Member, Message, Room, Roomcast, RoomOptions, State } from "./index.js";

const Context = createContext<Roomcast<any, any> | null>(null);

/**
 * Gives a client to all hooks below it, and connects it. The code that created the client closes
 * it.
 */
export function RoomcastProvider({ client, children }: { client: Roomcast<any, any>; children?: ReactNode }): ReactNode {
  useEffect(() => {
    if (client.state.name === "idle") client.connect();
  }, [client]);
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the nearest {@link RoomcastProvider}. Throws without one. */
export function useRoomcast<R extends Events = Events>(): Roomcast<R> {
  const client = useContext(Context);
  if (!client) throw new Error("there is no RoomcastProvider above this component");
  return client;
}

/** The state of the connection. */
export function useConnection(): State {
  const client = useRoomcast();
  const state = () => client.state;
  return useSyncExternalStore((f) => client.onState(f), state, state);
}

/** A room, joined while the component is mounted. Renders again when its state changes. */
export function useRoom<E extends Events = Events>(name: string, options?: Omit<RoomOptions, "join" | "signal">): Room<E> {
  const client = useRoomcast();
  const [, render] = useReducer((count: number) => count + 1, 0);
  const room = client.room<E>(name, { join: false });
  const given = useRef(options);
  given.current = options;
  useEffect(() => {
    // A room that was left meanwhile has been replaced by a new object.
    const taken = client.room(name, given.current);
    render();
    return () => void taken.leave();
  }, [client, name]);
  const state = () => room.state;
  useSyncExternalStore((f) => room.onState(f), state, state);
  return room;
}

/** The members of a room, taken with `presence`; `null` before they are known. */
export function useMembers(room: Room<any>): readonly Member[] | null {
  const members = () => room.members;
  return useSyncExternalStore((f) => room.onMembers(f), members, members);
}

const NONE: readonly never[] = [];

/** Options of {@link useMessages}. */
export interface UseMessagesOptions {
  /** The most messages that are kept. Default: 100, or `history` when that is more. */
  limit?: number;
  /**
   * Starts with this many of the newest messages of the room's history. After messages were lost,
   * they are read again and replace the list. In a room without a history it changes nothing.
   * Default: 0.
   */
  history?: number;
}

/**
 * The newest messages of a room since the component was mounted, and before it with `history`: each once, in order,
 * oldest first.
 */
export function useMessages<E extends Events = Events>(room: Room<E>, options: UseMessagesOptions = {}): readonly Message<E>[] {
  const { history = 0, limit = Math.max(100, history) } = options;
  const kept = useRef<{ room: Room<E>; messages: readonly Message<E>[] }>({ room, messages: NONE });
  if (kept.current.room !== room) kept.current = { room, messages: NONE };
  const messages = () => kept.current.messages;
  const subscribe = useCallback(
    (f: () => void) => {
      const show = (messages: readonly Message<E>[]) => {
        kept.current = { room, messages: messages.slice(-limit) };
        f();
      };
      let isDue = history > 0;
      // Messages since the request for the history, until its answer. A new array means a new
      // request.
      let since: Message<E>[] | undefined;
      const load = async () => {
        if (!isDue || room.state !== "joined") return;
        isDue = false;
        const later: Message<E>[] = (since = []);
        const found: Message<E>[] = [];
        try {
          for await (const message of room.history({ limit: history })) found.unshift(message);
        } catch {
          // The next join tries again.
          isDue ||= since === later;
          return;
        }
        const top = found.at(-1)?.offset ?? 0;
        if (since !== later) return;
        since = undefined;
        show([...found, ...later.filter(({ offset }) => !(offset! <= top))]);
      };
      const listening = new AbortController();
      room.onState(load, listening);
      room.onLost(() => {
        isDue = history > 0;
        load();
      }, listening);
      room.onMessage((message) => {
        if (since && since.push(message) > limit) since.shift();
        show([...messages(), message]);
      }, listening);
      load();
      return () => {
        since = undefined;
        listening.abort();
      };
    },
    [room, history, limit],
  );
  return useSyncExternalStore(subscribe, messages, messages);
}
