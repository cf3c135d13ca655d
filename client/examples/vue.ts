// A room in Vue: `const { messages, state } = useRoom(client, "lobby")`.

import type { Message, Roomcast } from "roomcast";
import { onScopeDispose, shallowRef } from "vue";

export function useRoom(client: Roomcast, name: string) {
  const room = client.room(name);
  const state = shallowRef(room.state);
  const messages = shallowRef<readonly Message[]>([]);
  const offs = [
    room.onState((now) => (state.value = now)),
    room.onMessage((message) => (messages.value = [...messages.value, message].slice(-100))),
  ];
  onScopeDispose(() => {
    for (const off of offs) off();
    void room.leave();
  });
  return { room, state, messages };
}
