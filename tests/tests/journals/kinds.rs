//! Kinds of inputs and of commands. A new one does not compile before it is named here.

use roomcast_core::{Command, Input};

macro_rules! kinds {
    ($list:ident, $kind:ident, $of:ident: $($variant:ident $name:literal),+ $(,)?) => {
        pub(crate) const $list: [&str; [$($name),+].len()] = [$($name),+];

        pub(crate) const fn $kind(of: &$of<'_>) -> &'static str {
            match of {
                $($of::$variant { .. } => $name,)+
            }
        }
    };
}

kinds! {
    INPUTS, input_kind, Input:
    Connect "connect",
    Text "text",
    Binary "binary",
    Authenticate "authenticate",
    Withdraw "withdraw",
    Activity "heard",
    Disconnect "disconnect",
    Timeout "timeout",
    SkipDue "skip_due",
    Join "join",
    Leave "leave",
    Send "send",
    SendText "send_text",
    SendBinary "send_binary",
    SetDelivery "settle_once",
    Close "close",
    HistoryLoaded "give_back",
    WallClock "wall_clock",
    TrimHistories "trim_histories",
    TrimClientKeys "trim_client_keys",
    SetPolicies "set_policies",
    SetBackends "set_backends",
    Complete "complete",
    Relay "relay",
    Drain "drain",
}

kinds! {
    COMMANDS, command_kind, Command:
    Send "send",
    Close "close",
    Ping "ping",
    Persist "persist",
    Append "append",
    PersistRoom "persist_room",
    PersistKey "persist_key",
    LoadHistory "load_history",
    Tell "tell",
    Relay "relay",
}
