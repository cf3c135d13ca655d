import { createRoot } from "react-dom/client";
import { Roomcast } from "roomcast";
import { RoomcastProvider, useConnection, useMembers, useMessages, useRoom } from "roomcast/react";

function Chat() {
  const room = useRoom("lobby", { presence: true });
  const say = (form: FormData) => {
    room.publish("said", { text: form.get("text") }, { echo: true });
  };
  return (
    <>
      <p>{useConnection().name}, here: {useMembers(room)?.length ?? "?"}</p>
      <ol>{useMessages(room).map(({ own, data }, i) => <li key={i}>{own && "me: "}{data.text}</li>)}</ol>
      <form action={say}><input name="text" aria-label="Message" required /> <button>Send</button></form>
    </>
  );
}

const client = new Roomcast("http://127.0.0.1:3000");
createRoot(document.getElementById("root")!).render(
  <RoomcastProvider client={client}><Chat /></RoomcastProvider>,
);
