import { useRef } from "react";
import { createRoot } from "react-dom/client";
import { Roomcast } from "roomcast";
import { RoomcastProvider, useConnection, useMembers, useMessages, useRoom } from "roomcast/react";

function Chat() {
  const room = useRoom("lobby", { presence: true });
  const messages = useMessages(room, { history: 100 });
  const input = useRef<HTMLInputElement>(null);
  const say = (form: FormData) => {
    const text = form.get("text");
    // What could not be sent is to be seen again.
    room.publish("said", { text }, { echo: true }).catch(() => (input.current!.value += text));
  };
  return (
    <>
      <p>{useConnection().name}, here: {useMembers(room)?.length ?? "?"}</p>
      <ol>{messages.map(({ own, data }, i) => <li key={i}>{own && "me: "}{data.text}</li>)}</ol>
      <form action={say}><input name="text" ref={input} aria-label="Message" required /> <button>Send</button></form>
    </>
  );
}

const client = new Roomcast("http://127.0.0.1:3000");
createRoot(document.getElementById("root")!).render(
  <RoomcastProvider client={client}><Chat /></RoomcastProvider>,
);
