//! `POST send`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::{Body, Incoming},
};
use roomcast_core::{Audience, Config, Delivery, EncodeError, Hub, Outbox, Payload, SendError};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Call, Problem, bad_request, bad_room, ok};
use crate::shard::Shard;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendBody {
    audience: Box<RawValue>,
    event: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

impl Call<'_> {
    pub(super) async fn send(&self, request: Request<Incoming>) -> Answer {
        let key = match request.headers().get("idempotency-key") {
            Some(key) => {
                let key = key
                    .to_str()
                    .ok()
                    .filter(|key| (1..=128).contains(&key.len()));
                let fault = || bad_request("Idempotency-Key must have 1 to 128 visible characters");
                Some(key.ok_or_else(fault)?.to_owned())
            }
            None => None,
        };
        let body = self.body(request).await?;
        let SendBody {
            audience,
            event,
            data,
        } = serde_json::from_slice(&body).map_err(|fault| misfit("the body", SHAPE, &fault))?;
        // A derived struct would take an array for its members in order.
        let audience = Some(audience.get())
            .filter(|json| json.starts_with('{') && body.trim_ascii_start().starts_with(b"{"))
            .ok_or_else(|| bad_request("the body and its audience must be objects"))?;
        let audience: Audience = serde_json::from_str(audience)
            .map_err(|fault| misfit("`audience`", AUDIENCE, &fault))?;
        let data = match data {
            Some(data) => data,
            None => RawValue::from_string("null".to_owned())
                .map_err(|_| bad_request("data must be JSON"))?,
        };
        let name = Arc::<str>::from(self.namespace.as_str());
        let sent = self
            .at_home(move |shard, namespace| {
                let namespace = match &key {
                    // A key must be remembered, even when nobody is there to hear the message.
                    Some(_) => namespace.or_else(|| shard.open_namespace(&name)),
                    None => namespace,
                };
                match (namespace, &key) {
                    (Some(namespace), _) => {
                        Some(namespace.send(shard, key.as_deref(), &audience, &event, &data))
                    }
                    (None, None) => Some(into_the_void(shard, &audience, &event, &data)),
                    (None, Some(_)) => None,
                }
            })
            .await?;
        let Some(sent) = sent else {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let detail = "too many namespaces to remember the key in one more: raise \
                          --namespaces-max, or send without Idempotency-Key";
            return Err(Problem::new(status, "overloaded", detail));
        };
        match sent {
            Ok(delivery) => ok(&delivery as &Delivery),
            Err(SendError::KeyReused) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                SendError::KeyReused.to_string(),
            )),
            Err(SendError::Encode(EncodeError::Payload(fault))) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_payload",
                fault.to_string(),
            )),
            Err(SendError::Encode(EncodeError::Room(fault))) => Err(bad_room(fault.to_string())),
            Err(fault) => Err(bad_request(fault.to_string())),
        }
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Problem> {
        let settings = &self.shard.shared.settings;
        let bytes_max = settings.api_body_bytes_max;
        let too_large = || {
            let detail =
                format!("the body must have at most {bytes_max} bytes (--api-body-bytes-max)");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        };
        let body = request.into_body();
        // A declared length is refused before a byte of it is waited for.
        if body.size_hint().lower() > bytes_max as u64 {
            // Read all the same, within bounds: a client that is still sending when the connection
            // ends would never see the answer.
            let (time, limited) = (settings.message_time, Limited::new(body, 16 * bytes_max));
            tokio::task::spawn_local(tokio::time::timeout(time, limited.collect()));
            return Err(too_large());
        }
        let limited = Limited::new(body, bytes_max);
        // A body may take as long as a message.
        let collected = tokio::time::timeout(settings.message_time, limited.collect()).await;
        match collected {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(fault)) if fault.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(bad_request("the body did not arrive whole")),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body did not arrive in time",
            )),
        }
    }
}

const SHAPE: &str = r#"{"audience":{...},"event":"...","data":...}"#;
const AUDIENCE: &str = r#"{"all":true} or any of "rooms", "conns", "users", and "except_rooms", "except_conns", "except_users", lists of strings"#;

/// Says where a text stops being what it should be, and not what stands there.
fn misfit(what: &str, shape: &str, fault: &serde_json::Error) -> Problem {
    let (line, column) = (fault.line(), fault.column());
    bad_request(format!(
        "{what} must be {shape}: look at line {line}, column {column} of it"
    ))
}

/// What a send to a namespace without connections gives: a mistake is one all the same.
fn into_the_void(
    shard: &Shard,
    audience: &Audience,
    event: &str,
    data: &RawValue,
) -> Result<Delivery, SendError> {
    let limits = shard.shared.settings.hub.clone();
    let mut hub = Hub::new(Config::new("").with_limits(limits));
    let payload = Payload::parse(data.get()).map_err(EncodeError::from)?;
    let sent = hub.send(shard.now(), audience, event, payload, &mut Outbox::new());
    sent.map_err(Into::into)
}
