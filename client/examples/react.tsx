import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Roomcast } from "roomcast";
import { RoomcastProvider, useConnection, useMembers, useMessages, useRoom } from "roomcast/react";

function Chat() {
  const room = useRoom("lobby", { presence: true });
  const messages = useMessages(room, { history: 100 });
  const [text, setText] = useState("");
  const say = () => {
    setText("");
    // Not sent: restore the text.
    room.publish("said", { text }, { echo: true }).catch(() => setText((typed) => typed + text));
  };
  return (
    <>
      <p>{useConnection().name}, here: {useMembers(room)?.length ?? "?"}</p>
      <ol>{messages.map(({ own, data }, i) => <li key={i}>{own && "me: "}{data.text}</li>)}</ol>
      <form action={say}>
        <input aria-label="Message" value={text} onChange={({ target }) => setText(target.value)} required /> <button>Send</button>
      </form>
    </>
  );
}

const client = new Roomcast("http://127.0.0.1:3000");
createRoot(document.getElementById("root")!).render(
  <RoomcastProvider client={client}><Chat /></RoomcastProvider>,
);
