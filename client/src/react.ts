/**
 * Hooks for React 18 and later.
 *
 * @module
 */
import { createContext, createElement, type ReactNode, useContext, useEffect, useReducer, useRef, useSyncExternalStore } from "react";
import type { Events, Member, Message, Room, Roomcast, RoomOptions, State } from "./index.js";

const Context = createContext<Roomcast<any, any> | null>(null);

/** Gives a client to all hooks below it, and connects it. Whoever made the client closes it. */
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
    // A room that was left meanwhile is another one.
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

/** The newest messages of a room, at most `limit` (100), since the component was mounted. */
export function useMessages<E extends Events = Events>(room: Room<E>, { limit = 100 }: { limit?: number } = {}): readonly Message<E>[] {
  const kept = useRef<{ room: Room<E>; messages: readonly Message<E>[] }>({ room, messages: NONE });
  if (kept.current.room !== room) kept.current = { room, messages: NONE };
  const messages = () => kept.current.messages;
  return useSyncExternalStore(
    (f) =>
      room.onMessage((message) => {
        kept.current = { room, messages: [...messages(), message].slice(-limit) };
        f();
      }),
    messages,
    messages,
  );
}
