// A chat in React.

import { Roomcast } from "roomcast";
import { RoomcastProvider, useConnection, useMembers, useMessages, useRoom } from "roomcast/react";

type Events = { said: { text: string } };

const client = new Roomcast("https://example.com", { connect: false });

function Lobby() {
  const room = useRoom<Events>("lobby", { presence: true });
  const messages = useMessages(room);
  const members = useMembers(room);
  return (
    <main onClick={() => void room.publish("said", { text: "hi" }, { echo: true })}>
      {useConnection().name}, {members?.length ?? 0} here
      {messages.map(({ data, offset }) => (
        <p key={offset}>{data.text}</p>
      ))}
    </main>
  );
}

export const App = () => (
  <RoomcastProvider client={client}>
    <Lobby />
  </RoomcastProvider>
);
