//! Tests of the whole application, with clients that each have a cookie jar.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use documents::{application, connect};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Url, cookie::CookieStore, cookie::Jar};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// The longest time that any step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The application on a free port.
struct Running {
    authority: SocketAddr,
    stop: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

/// Starts the application with the database at `DATABASE_URL`, or a new one.
async fn start(folder: &std::path::Path) -> Running {
    let own = format!("sqlite:{}/documents.db?mode=rwc", folder.display());
    let url = std::env::var("DATABASE_URL").unwrap_or(own);
    let (app, host) = application(connect(&url).await.expect("a database"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let authority = listener.local_addr().expect("bound");
    let (stop, stopping) = watch::channel(());
    let stopped = || {
        let mut stopping = stopping.clone();
        async move { drop(stopping.changed().await) }
    };
    let rooms = host.run_service(stopped());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, app).with_graceful_shutdown(stopped());
    let tasks = [
        tokio::spawn(async { rooms.await.expect("rooms") }),
        tokio::spawn(async { served.await.expect("routes") }),
    ];
    Running {
        authority,
        stop,
        tasks,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(());
        for task in self.tasks {
            let ended = timeout(PATIENCE, task).await;
            ended.expect("it ends").expect("it does not panic");
        }
    }
}

/// A person with a browser.
struct Person {
    authority: SocketAddr,
    jar: Arc<Jar>,
    http: Client,
}

impl Person {
    async fn sign_in(running: &Running, user: &str) -> Self {
        let person = Self::stranger(running);
        let signed_in = person.post("sign-in", &json!({ "user": user })).await;
        assert_eq!(signed_in.status(), 200);
        person
    }

    fn stranger(running: &Running) -> Self {
        let jar = Arc::<Jar>::default();
        let http = Client::builder().cookie_provider(jar.clone());
        Self {
            authority: running.authority,
            jar,
            http: http.build().expect("a client"),
        }
    }

    fn url(&self, path: &str) -> Url {
        let url = format!("http://{}/{path}", self.authority);
        url.parse().expect("a URL")
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let sent = self.http.post(self.url(path)).json(body).send().await;
        sent.expect("an answer")
    }

    async fn put(&self, path: &str, text: &'static str) -> reqwest::Response {
        let sent = self.http.put(self.url(path)).body(text).send().await;
        sent.expect("an answer")
    }

    async fn create(&self, title: &str) -> i64 {
        let created = self.post("documents", &json!({ "title": title })).await;
        let created: Value = created.json().await.expect("JSON");
        created["id"].as_i64().expect("an id")
    }

    /// A WebSocket for a document, as a page of the application opens it.
    async fn open(&self, document: i64) -> Socket {
        let origin = format!("http://{}", self.authority);
        self.open_from(&origin, document).await
    }

    /// Opens a WebSocket as a page of another origin, with the cookies of the jar.
    async fn open_from(&self, origin: &str, document: i64) -> Socket {
        let url = format!(
            "ws://{}/live/ws?document={document}&refuse=close",
            self.authority
        );
        let mut request = url.into_client_request().expect("a URL");
        let headers = request.headers_mut();
        if let Some(cookies) = self.jar.cookies(&self.url("live/ws")) {
            let cookies = HeaderValue::from_bytes(cookies.as_bytes());
            headers.insert("cookie", cookies.expect("a value"));
        }
        headers.insert("origin", origin.parse().expect("a value"));
        let (stream, _) = connect_async(request).await.expect("an upgrade");
        Socket(stream)
    }
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn say(&mut self, envelope: Value) {
        let text = envelope.to_string();
        self.0.send(Message::text(text)).await.expect("it is open");
    }

    /// The next envelope, or the code of the close.
    async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await;
            match next
                .expect("a message in time")
                .expect("no end")
                .expect("a message")
            {
                Message::Text(text) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Message::Close(frame) => {
                    // Writes the answer to the close.
                    let _ = self.0.flush().await;
                    return Err(frame.expect("a code").code.into());
                }
                _ => {}
            }
        }
    }

    /// The next envelope of an event; others are skipped.
    async fn hear(&mut self, event: &str) -> Value {
        loop {
            let envelope = self.next().await.expect("open");
            if envelope["event"] == event {
                return envelope;
            }
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    async fn join(&mut self, document: i64, since: Value) -> Value {
        let (room, data) = (format!("document:{document}"), json!({ "since": since }));
        self.say(json!({ "event": "$join", "id": 1, "room": room, "data": data }))
            .await;
        self.hear("$join").await
    }
}

/// Expects that neither ben, who is not a member yet, nor a stranger has access to the document.
async fn expect_closed(running: &Running, ben: &Person, plan: i64) {
    let path = format!("documents/{plan}");
    for person in [ben, &Person::stranger(running)] {
        let saved = person.put(&path, "mine").await.status().as_u16();
        assert!(matches!(saved, 401 | 404), "{saved}");
        assert_eq!(person.open(plan).await.closed().await, 4401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_write_a_document_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = start(folder.path()).await;
    let page = reqwest::get(format!("http://{}/", running.authority)).await;
    let page = page.expect("an answer").text().await.expect("text");
    assert!(page.contains("/live/client.js"), "{page}");
    let ann = Person::sign_in(&running, "ann").await;
    let ben = Person::sign_in(&running, "ben").await;
    let plan = ann.create("Plan").await;
    let path = format!("documents/{plan}");

    expect_closed(&running, &ben, plan).await;
    let shared = ann.put(&format!("{path}/members/ben"), "").await;
    assert_eq!(shared.status(), 204);

    let (mut anns, mut bens) = (ann.open(plan).await, ben.open(plan).await);
    let joined = anns.join(plan, Value::Null).await;
    assert!(joined.get("error").is_none(), "{joined}");
    bens.join(plan, Value::Null).await;
    assert_eq!(anns.hear("$joined").await["data"]["user"], "ben");
    // Another document is not open on this socket.
    let other = ben.create("Other").await;
    assert_eq!(
        bens.join(other, Value::Null).await["error"]["code"],
        "forbidden"
    );

    // Members receive messages of clients, and documents that the application saves.
    let room = format!("document:{plan}");
    bens.say(json!({ "event": "cursor", "room": room, "data": 7 }))
        .await;
    let cursor = anns.hear("cursor").await;
    assert_eq!(
        (&cursor["from"]["user"], &cursor["data"]),
        (&json!("ben"), &json!(7))
    );
    let at = cursor["offset"].as_u64().expect("an offset");
    let saved: Value = ann.put(&path, "one").await.json().await.expect("JSON");
    assert_eq!(
        (&saved["text"], &saved["version"]),
        (&json!("one"), &json!(1))
    );
    assert_eq!(bens.hear("saved").await["data"], saved);

    // A client that reconnects misses nothing.
    drop(anns);
    ben.put(&path, "two").await;
    let mut anns = ann.open(plan).await;
    let since = json!({ "epoch": joined["data"]["epoch"], "offset": at });
    let back = anns.join(plan, since).await;
    assert_eq!(back["data"]["recovered"], true, "{back}");
    for text in ["one", "two"] {
        assert_eq!(anns.hear("saved").await["data"]["text"], text);
    }

    // A withdrawn right ends at once, and so does a session.
    let member = ann.url(&format!("{path}/members/ben"));
    let withdrawn = ann.http.delete(member).send().await.expect("an answer");
    assert_eq!(withdrawn.status(), 204);
    assert_eq!(bens.closed().await, 4000);
    assert_eq!(ben.open(plan).await.closed().await, 4401);
    let signed_out = ann.post("sign-out", &Value::Null).await;
    assert_eq!(signed_out.status(), 204);
    assert_eq!(anns.closed().await, 4000);
    assert_eq!(ann.open(plan).await.closed().await, 4401);

    // A page of another origin has the cookie too, and is refused.
    let ann = Person::sign_in(&running, "ann").await;
    let mut foreign = ann.open_from("https://evil.example", plan).await;
    assert_eq!(foreign.closed().await, 4403);

    // Routes and rooms end together, and clients receive the close code.
    let mut anns = ann.open(plan).await;
    anns.join(plan, Value::Null).await;
    let (ended, code) = tokio::join!(running.stop(), anns.closed());
    assert_eq!((ended, code), ((), 1001));
}
