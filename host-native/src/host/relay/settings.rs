//! Translation of server settings to relay settings, and of relay errors to names of settings.

use std::time::Duration;

use roomcast_relay::{Lineage, RelayUrl, Settings as RelaySettings, StartError};

use crate::settings::{RelayAddress, RelayLineage, Settings, relay::PREFIX};

/// The time in which the relay must answer a call. A call without an answer is repeated once, with
/// the same time: so a publish fails within a second if the relay does not answer.
const RESPONSE: Duration = Duration::from_millis(450);

/// The settings of the relay at an address.
///
/// # Errors
///
/// When the address is malformed; the check of the settings has ruled this out.
pub(super) fn relay_settings(
    settings: &Settings,
    address: &RelayAddress,
) -> Result<RelaySettings, String> {
    let url: Result<RelayUrl, _> = address.as_text().parse();
    let url = url.map_err(|fault| fault.to_string())?;
    let mut relay = RelaySettings::new(url);
    // Redis Cluster has another default.
    if settings.relay_prefix != PREFIX {
        relay.prefix = (*settings.relay_prefix).into();
    }
    relay.lineage = match settings.relay_lineage {
        RelayLineage::Replication => Lineage::Replication,
        RelayLineage::Data => Lineage::Data,
        RelayLineage::RunId => Lineage::RunId,
        RelayLineage::Off => Lineage::Off,
    };
    relay.asks_lineage = settings.relay_asks_lineage;
    relay.replicas_ack = u8::try_from(settings.relay_replicas_ack).unwrap_or(u8::MAX);
    relay.is_checked_by_hand = settings.relay_checked_by_hand;
    relay.timing.response = RESPONSE;
    Ok(relay)
}

/// The text of the error; it names the flags to change if the error is about settings.
#[allow(clippy::wildcard_enum_match_arm)] // the others are about the server of the relay
pub(super) fn explain(fault: &StartError) -> String {
    match fault {
        StartError::Hidden => {
            "its server hides INFO: permit `+info` to the user of --relay; or check \
             by hand that it is version 7, a primary, `noeviction` and `appendfsync always`, and \
             start with --relay-lineage data and --relay-checked-by-hand"
                .to_owned()
        }
        StartError::DataLineage(what) => format!(
            "--relay-lineage data needs a server with `appendonly yes`, `appendfsync always` and no \
             replica ({what}): change that, or choose --relay-lineage replication"
        ),
        StartError::HiddenConfig => "--relay-lineage data needs to read `appendfsync`: permit \
             `+config|get` to the user of --relay, or check it by hand and start with \
             --relay-checked-by-hand"
            .to_owned(),
        fault => fault.to_string(),
    }
}
