//! The servers to compare.

use std::process::Command;

use crate::common::Outcome;
use crate::common::child::{multiconn_server, own_command};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Ours,
    Tokio,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::Ours, Self::Tokio];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::Tokio => "tokio",
        }
    }

    pub(crate) fn command(self, tls: bool) -> Outcome<Command> {
        match self {
            Self::Bare => own_command("bare"),
            Self::Tokio => own_command(if tls { "tokio-tls" } else { "tokio" }),
            Self::Ours => Ok(multiconn_server(if tls { &["--tls-self-signed"] } else { &[] })),
        }
    }
}
