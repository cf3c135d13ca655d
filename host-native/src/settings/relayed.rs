//! Checks of relay settings.

use super::{
    Settings, SettingsError,
    relay::{PREFIX, RelayLineage, check_prefix},
};

impl Settings {
    pub(super) fn check_relay(&self) -> Result<(), SettingsError> {
        if self.relay.is_none() {
            return self.check_unrelayed();
        }
        let is_data = self.relay_lineage == RelayLineage::Data;
        let fault = if cfg!(not(feature = "relay")) {
            "--relay needs a server that is built with the feature `relay` of `roomcast`: add it, \
             or leave --relay out"
        } else if self.store.is_some() {
            "--relay has the histories of all servers: leave --store out, and have the relay keep \
             its data on disk (`appendonly yes`)"
        } else if self.relay_asks_lineage && self.relay_lineage != RelayLineage::Replication {
            "--relay-asks-lineage is for --relay-lineage replication: leave it out, or choose that"
        } else if self.relay_replicas_ack > 0 && is_data {
            "--relay-replicas-ack needs replicas, which --relay-lineage data does not allow: make \
             it 0, or choose the lineage replication"
        } else if self.relay_checked_by_hand && !is_data {
            "--relay-checked-by-hand is for --relay-lineage data: the lineage replication is read \
             from `INFO`, which the relay must permit"
        } else {
            return check_prefix(&self.relay_prefix)
                .map_err(|fault| SettingsError(format!("--relay-prefix {fault}")));
        };
        Err(SettingsError(fault.to_owned()))
    }

    /// Refuses relay settings without a relay, since such servers would share nothing. Numbers are
    /// exempt, as everywhere.
    fn check_unrelayed(&self) -> Result<(), SettingsError> {
        let settings = [
            ("prefix", self.relay_prefix != PREFIX),
            ("lineage", self.relay_lineage != RelayLineage::default()),
            ("asks-lineage", self.relay_asks_lineage),
            ("checked-by-hand", self.relay_checked_by_hand),
        ];
        match settings.iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((name, _)) => Err(SettingsError(format!(
                "--relay-{name} needs --relay: give its address, or leave --relay-{name} out"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::relay::PREFIX_BYTES_MAX, *};

    fn relayed() -> Settings {
        Settings {
            relay: Some("redis://localhost".parse().expect("an address")),
            ..Settings::default()
        }
    }

    fn fault(settings: &Settings) -> String {
        settings.check().expect_err("a fault").to_string()
    }

    #[test]
    fn a_relay_needs_its_feature_and_no_store() {
        let mut settings = relayed();
        if cfg!(feature = "relay") {
            assert_eq!(settings.check(), Ok(()));
            settings.store = Some("histories".into());
            let fault = fault(&settings);
            assert!(
                fault.contains("--store") || fault.contains("feature `store`"),
                "{fault}"
            );
        } else {
            assert!(fault(&settings).contains("feature `relay`"));
        }
    }

    #[test]
    fn settings_of_a_relay_need_one() {
        let settings = Settings {
            relay_asks_lineage: true,
            ..Settings::default()
        };
        assert!(fault(&settings).contains("--relay-asks-lineage needs --relay:"));
        let settings = Settings {
            relay_prefix: "chat:".to_owned(),
            ..Settings::default()
        };
        assert!(fault(&settings).contains("--relay-prefix needs --relay:"));
    }

    #[test]
    #[cfg(feature = "relay")]
    fn settings_that_contradict_each_other_are_named() {
        let data = |change: fn(&mut Settings)| {
            let mut settings = relayed();
            settings.relay_lineage = RelayLineage::Data;
            change(&mut settings);
            settings
        };
        assert_eq!(data(|it| it.relay_checked_by_hand = true).check(), Ok(()));
        assert!(fault(&data(|it| it.relay_asks_lineage = true)).contains("--relay-asks-lineage"));
        assert!(fault(&data(|it| it.relay_replicas_ack = 1)).contains("--relay-replicas-ack"));
        assert_eq!(
            data(|it| it.relay_prefix = "a{b}:".to_owned()).check(),
            Ok(())
        );
        let mut settings = relayed();
        settings.relay_checked_by_hand = true;
        assert!(fault(&settings).contains("--relay-checked-by-hand"));
        settings.relay_checked_by_hand = false;
        for prefix in [
            "",
            "a b",
            "a{}b",
            "{a}{b}",
            "a}{b",
            &"x".repeat(PREFIX_BYTES_MAX + 1),
        ] {
            settings.relay_prefix = prefix.to_owned();
            assert!(fault(&settings).starts_with("--relay-prefix"), "{prefix}");
        }
    }
}
