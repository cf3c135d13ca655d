// A room as a store of Svelte: it is joined while somebody subscribes.

import type { Message, Roomcast } from "roomcast";
import { readable } from "svelte/store";

export const messagesOf = (client: Roomcast, name: string) =>
  readable<readonly Message[]>([], (_set, update) => {
    const room = client.room(name);
    const off = room.onMessage((message) => update((messages) => [...messages, message].slice(-100)));
    return () => {
      off();
      void room.leave();
    };
  });
